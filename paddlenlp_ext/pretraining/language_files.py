"""Which language a text file is in, by its name, and which files hold parallel text.

`en.txt`, `wiki.zh-Hans.txt.gz`: text of a language. `en-de.tsv`, `news.en-pt_BR.tsv.gz`: pairs of
sentences in two columns. `news.en-de.en` and `news.en-de.de`: pairs on the same lines of two files.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from paddlenlp_ext.errors import DataError, shown

# ISO 639-1, and languages without a code there of which large corpora exist.
_ISO_639 = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da
de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz
ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln
lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi
pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti
tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
ace arz ast azb bar bcl bpy bug cbk ceb ckb crh cmn diq dsb dty eml ext fil frp frr fur gan
gom gsw hak haw hbs hif hil hmn hsb ilo jbo kaa kab krc lez lij lmo mai mdf mhr min mrj mwl myv
mzn nah nan nap nds new nso pam pap pcd pms pnb rue sah scn sco sgs srd stq szl tet tpi tyv tzm
udm vec vep vls vro war wuu xal xmf yue zea zsm
"""
CODES = frozenset(_ISO_639.split())
CODE = re.compile(r"([a-z]{2,3})(-[A-Z][a-z]{3})?(-[A-Z]{2}|-[0-9]{3}|-rom)?")
TABLE, TEXT, PACKED = ".tsv", ".txt", ".gz"

Languages = tuple[str, str]


class ParallelText(NamedTuple):
    """Text in two languages.

    Attributes:
        languages: Of the first sentences and of the second ones.
        paths: A table of two columns, or a file for each language.
    """

    languages: Languages
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The pair of languages: "en-de"."""
        return "-".join(self.languages)


def find_texts(files: Iterable[Path], known: Iterable[str] = CODES) -> dict[str, list[Path]]:
    """List text files by language, both in the order in which they are given.

    Args:
        files: Text of one language each.
        known: Codes of languages that may occur.

    Raises:
        DataError: The name of a file tells no known language.
    """
    found: dict[str, list[Path]] = {}
    for path in files:
        name = path.name.removesuffix(PACKED).removesuffix(TEXT)
        code = name.rpartition(".")[2].replace("_", "-")
        if not CODE.fullmatch(code):
            raise DataError(f"{path}: expected the language in its name, as in `en.txt`")
        _require_known(path, [code], known)
        found.setdefault(code, []).append(path)
    return found


def find_parallel(
    files: Sequence[Path], known: Iterable[str] = CODES
) -> dict[str, list[ParallelText]]:
    """List parallel text by its pair of languages, in the order in which it is given.

    Args:
        files: Tables, and files that are aligned with another one; that may be listed or not.
        known: Codes of languages that may occur.

    Raises:
        DataError: The name of a file tells no two known languages, or a file lacks the other one.
    """
    found: dict[str, dict[ParallelText, None]] = {}
    for path in files:
        text = parallel_text(path, known)
        found.setdefault(text.name, {})[text] = None
    return {name: [*texts] for name, texts in found.items()}


def parallel_text(path: Path, known: Iterable[str] = CODES) -> ParallelText:
    """Say which languages a file is in; find the one that an aligned file belongs to.

    Args:
        path: `en-de.tsv`, or one of `news.en-de.en` and `news.en-de.de`.
        known: Codes of languages that may occur.

    Raises:
        DataError: Its name tells no two known languages, or the other file is not there.
    """
    unpacked = path.with_suffix("") if path.suffix == PACKED else path
    languages = _pair(path, unpacked.stem)
    _require_known(path, languages, known)
    if unpacked.suffix == TABLE:
        return ParallelText(languages, (path,))
    if unpacked.suffix[1:].replace("_", "-") not in languages:
        raise DataError(f"{path}: expected {_ENDS}")
    packed = path.suffix if path.suffix == PACKED else ""
    written = _written(unpacked.stem, languages)
    paths = [path.with_name(f"{unpacked.stem}.{code}{packed}") for code in written]
    for one in paths:
        if not one.is_file():
            raise DataError(f"{path}: lacks the other language beside it; expected {one}")
    return ParallelText(languages, tuple(paths))


def languages_of(path: Path, known: Iterable[str] = CODES) -> Languages:
    """Return the languages of parallel text by the name of its file.

    Raises:
        DataError: As `parallel_text`.
    """
    return parallel_text(path, known).languages


_ENDS = (
    "the languages in its name: `en-de.tsv` with two columns, or `news.en-de.en` beside "
    "`news.en-de.de`"
)


def _pair(path: Path, stem: str) -> Languages:
    """Find the two languages at the end of a name."""
    parts = stem.rpartition(".")[2].replace("_", "-").split("-")
    for at in range(1, len(parts)):
        first, second = "-".join(parts[:at]), "-".join(parts[at:])
        if CODE.fullmatch(first) and CODE.fullmatch(second):
            return first, second
    raise DataError(f"{path}: expected {_ENDS}")


def _written(stem: str, languages: Languages) -> tuple[str, str]:
    """Return the two codes as a name has them: with "-" or with "_"."""
    name = stem.rpartition(".")[2]
    length = len(languages[0])
    return name[:length], name[length + 1 :]


def _require_known(path: Path, codes: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a code that is not known, with its script and region or without."""
    known = frozenset(known)
    for code in codes:
        if code not in known and code.partition("-")[0] not in known:
            raise DataError(
                f"{path}: {shown(code)} is no known language code; expected one of ISO 639, as in "
                "`en.txt` and `en-de.tsv`; name others in `more_languages`"
            )
