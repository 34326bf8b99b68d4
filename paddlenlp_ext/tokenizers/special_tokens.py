"""Tokens that stand for themselves: [CLS] and its like, and tokens that a user adds."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.tokenizers.segmentation import Segmenter

ROLES = (  # the order in which transformers gives ids to those that the vocabulary lacks
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)

SWITCHES = ("lstrip", "normalized", "rstrip", "single_word", "special")

Token: TypeAlias = str | AddedToken


def special_token(token: Token | Mapping[str, Any]) -> AddedToken:
    """Make a special token of its text, or of its description in a JSON file."""
    if isinstance(token, str):
        # Not normalized: "[CLS]" is found in the text as it was written, before lower-casing.
        return AddedToken(token, special=True, normalized=False)
    if isinstance(token, AddedToken):
        token = describe(token)
    return described_token({**token, "special": True})


def described_token(description: Mapping[str, Any]) -> AddedToken:
    """Make a token of its description in a JSON file; switches of other versions are left out."""
    return AddedToken(
        **{name: value for name, value in description.items() if name in ("content", *SWITCHES)}
    )


def describe(token: AddedToken) -> dict[str, Any]:
    """Write a token as JSON, as transformers does in `added_tokens_decoder`."""
    return {name: getattr(token, name) for name in ("content", *SWITCHES)}


def _prefer(saved: Mapping[str, AddedToken], token: AddedToken) -> AddedToken:
    return special_token(saved.get(token.content, token))


class SpecialTokens:
    """The special and the added tokens of a tokenizer, and the ids of all its tokens.

    Args:
        segmenter: Has the vocabulary, and keeps these tokens whole.
        roles: Special tokens by role, one of `ROLES`; a role without a token is None.
        additional: Special tokens without a role.
        added: Tokens with ids of their own, by id, as a saved tokenizer lists them.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        roles: Mapping[str, Token | Mapping[str, Any] | None],
        additional: Iterable[Token | Mapping[str, Any]] = (),
        added: Mapping[int, AddedToken] | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._vocabulary = segmenter.vocabulary
        added = dict(sorted((added or {}).items()))
        # Where a role and a saved token have the same text, the saved one knows more of it.
        saved = {token.content: token for token in added.values()}
        self.roles = {
            role: _prefer(saved, special_token(token)) for role, token in roles.items() if token
        }
        self.additional = [_prefer(saved, special_token(token)) for token in additional]
        self.added_tokens_decoder: dict[int, AddedToken] = {}
        self.added_tokens_encoder: dict[str, int] = {}
        self._length = len(self._vocabulary)
        for number, token in added.items():
            self._check(number, token)
        named = [self.roles[role] for role in ROLES if role in self.roles]
        self._number(((token, number) for number, token in added.items()))
        self._number((token, None) for token in [*named, *self.additional])
        self._segmenter.keep_whole(list(self.added_tokens_decoder.values()), self)

    def __len__(self) -> int:
        return self._length

    def _check(self, number: int, token: AddedToken) -> None:
        """Refuse an id if the vocabulary has the token on another line."""
        vocabulary = self._vocabulary
        line = vocabulary.ids.get(token.content)
        if line is not None and vocabulary.tokens[number : number + 1] != [token.content]:
            raise UserError(
                f"added token {shown(token.content)} has id {number} in the saved tokenizer, and "
                f"{line} in the vocabulary; is it that of this folder?"
            )

    def _number(self, tokens: Iterable[tuple[AddedToken, int | None]]) -> list[AddedToken]:
        """Give an id to tokens that have none; return those that are new or have changed."""
        changed = {}
        for token, number in tokens:
            if number is None:
                number = self.added_tokens_encoder.get(token.content)
            if number is None:
                number = self._vocabulary.ids.get(token.content)
                if number in self.added_tokens_decoder:  # which stands in place of this line
                    number = None
            if number is None:
                number = self._length
            self._length = max(self._length, number + 1)
            old = self.added_tokens_decoder.get(number)
            if old is None or describe(old) != describe(token):
                self.added_tokens_decoder[number] = token
                self.added_tokens_encoder[token.content] = number
                changed[token.content] = token
        return list(changed.values())

    def _keep_whole(self, tokens: Iterable[AddedToken]) -> int:
        """Protect tokens, give an id to those without one, and return by how much ids grew."""
        length = self._length
        changed = self._number((token, None) for token in tokens if token.content)
        self._segmenter.keep_whole(changed, self)
        return self._length - length

    def add_tokens(
        self,
        new_tokens: Token | Iterable[Token],
        special_tokens: bool = False,
    ) -> int:
        """Add tokens that are never split.

        Args:
            new_tokens: One or several tokens; those that the vocabulary has keep their ids, and
                special ones that are given by their text alone stay as they are.
            special_tokens: Whether `decode(skip_special_tokens=True)` drops them.

        Returns:
            By how many ids the tokenizer grew; call the model's `resize_token_embeddings` then.
        """
        if isinstance(new_tokens, (str, AddedToken)):
            new_tokens = [new_tokens]
        if special_tokens:
            return self._keep_whole([special_token(token) for token in new_tokens])
        special = self.skipped
        return self._keep_whole(
            [
                AddedToken(token) if isinstance(token, str) else token
                for token in new_tokens
                if not (isinstance(token, str) and token in special)
            ]
        )

    def add_special_tokens(self, tokens: Mapping[str, Any]) -> int:
        """Set the tokens of roles, and add special tokens without a role.

        Args:
            tokens: A token by role ("mask_token" ...); a list under "additional_special_tokens".

        Returns:
            By how many ids the tokenizer grew.

        Raises:
            ValueError: A key is no role, or there is one token where a list is expected.
        """
        new = []
        for role, token in tokens.items():
            if role == "additional_special_tokens":
                if isinstance(token, (str, AddedToken)):
                    raise ValueError(f"{role} must be a list of tokens, not {token!r}")
                self.additional = [special_token(item) for item in token]
                new += self.additional
            elif role in ROLES:
                self.roles[role] = special_token(token)
                new.append(self.roles[role])
            else:
                raise ValueError(
                    f"{role!r} is no role of a special token; expected one of "
                    f"{', '.join(ROLES)} or additional_special_tokens"
                )
        return self._keep_whole(new)

    def clear(self, role: str) -> None:
        """Let no token play a role any more; the token stays one that is kept whole."""
        self.roles.pop(role, None)

    def id_of(self, token: str) -> int:
        """Return the id of any token; that of the unknown token if it is not there.

        Raises:
            ValueError: There is no unknown token either.
        """
        number = self.added_tokens_encoder.get(token)
        if number is None:
            number = self._vocabulary.ids.get(token)
        if number is None and "unk_token" not in self.roles:
            raise ValueError(f"{token!r} is not in the vocabulary, and there is no unk_token")
        return self.id_of_role("unk_token") if number is None else number

    def id_of_role(self, role: str) -> int:
        """Return the id of the token that plays a role."""
        return self.added_tokens_encoder[self.roles[role].content]

    @property
    def by_role(self) -> dict[str, str | list[str]]:
        """Special tokens by role."""
        tokens: dict[str, str | list[str]] = {
            role: self.roles[role].content for role in ROLES if role in self.roles
        }
        if self.additional:
            tokens["additional_special_tokens"] = [token.content for token in self.additional]
        return tokens

    @property
    def skipped(self) -> set[str]:
        """Tokens that `skip_special_tokens` drops: `all`, and others that were added as special."""
        added = self.added_tokens_decoder.values()
        return {*self.all, *(token.content for token in added if token.special)}

    @property
    def all(self) -> list[str]:
        """Every special token once."""
        named = [self.roles[role] for role in ROLES if role in self.roles]
        return list(dict.fromkeys(token.content for token in [*named, *self.additional]))
