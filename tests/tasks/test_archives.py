"""Only the asked members of an archive are written, and only if they are honest files."""

import io
import stat
import tarfile
import zipfile

import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.archives import extract

TEXT = b"sentence\tlabel\nfine\t1\n"


def zipped(path, *members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data, *mode in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.external_attr = (mode[0] if mode else stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return path


def tarred(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, data, *kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind[0] if kind else tarfile.REGTYPE
            if info.type == tarfile.REGTYPE:
                info.size = len(data)
            else:
                info.linkname = data.decode()
            archive.addfile(info, io.BytesIO(data) if info.size else None)
    return path


PACKERS = {"zip": zipped, "tar.gz": tarred}
EVIL = ("../evil", "/tmp/evil-of-a-test", "QQP/../../evil", "..\\evil", "QQP/Train.tsv")


@pytest.fixture(params=PACKERS)
def pack(request, tmp_path):
    return lambda *members: PACKERS[request.param](tmp_path / f"a.{request.param}", *members)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out" / "train.tsv"


def refused(archive, target, reason):
    with pytest.raises(DataError, match=reason) as told:
        extract(archive, {"QQP/train.tsv": target})
    assert str(archive) in str(told.value)
    assert not target.exists()


def written(folder):
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


@pytest.mark.parametrize("name", ["QQP/train.tsv", "glue/QQP/train.tsv", "./QQP/train.tsv"])
def test_a_member_goes_where_the_caller_says(pack, tmp_path, target, name):
    archive = pack(("QQP/dev.tsv", b"dev"), (name, TEXT), ("__MACOSX/QQP/._train.tsv", b"junk"))
    extract(archive, {"QQP/train.tsv": target, "QQP/dev.tsv": tmp_path / "out" / "other.txt"})
    assert target.read_bytes() == TEXT
    assert (tmp_path / "out" / "other.txt").read_bytes() == b"dev"
    assert written(tmp_path) == [archive.name, "out/other.txt", "out/train.tsv"]


def test_nothing_else_is_written_whatever_the_archive_holds(pack, tmp_path, target):
    archive = pack(*((name, b"evil") for name in EVIL), ("QQP/train.tsv", TEXT))
    extract(archive, {"QQP/train.tsv": target})
    assert written(tmp_path) == [archive.name, "out/train.tsv"]


def test_a_missing_and_a_doubled_member_are_named(pack, target):
    refused(pack(("QNLI/train.tsv", TEXT)), target, r"expected one QQP/train.tsv in it, got 0")
    twice = (("QQP/train.tsv", TEXT), ("x/QQP/train.tsv", b"other"))
    refused(pack(*twice), target, r"expected one QQP/train.tsv in it, got 2")


def test_a_bomb_is_refused_before_it_is_unpacked(pack, target):
    refused(pack(("QQP/train.tsv", b"x" * 20_000_000)), target, "at most 200 times its packed size")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_file_are_refused(tmp_path, target, mode):
    archive = zipped(tmp_path / "a.zip", ("QQP/train.tsv", b"/etc/hosts", mode | 0o777))
    refused(archive, target, "expected QQP/train.tsv to be a file, got a link or a device")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_file_are_refused(tmp_path, target, kind):
    archive = tarred(tmp_path / "a.tar.gz", ("QQP/train.tsv", b"/etc/hosts", kind))
    refused(archive, target, "expected QQP/train.tsv to be a file, got a link or a device")


def test_a_link_to_a_member_beside_it_cannot_lead_out(tmp_path, target):
    archive = tarred(
        tmp_path / "a.tar.gz",
        ("QQP", b"/tmp", tarfile.SYMTYPE),
        ("QQP/train.tsv", TEXT),
    )
    extract(archive, {"QQP/train.tsv": target})
    assert written(tmp_path) == ["a.tar.gz", "out/train.tsv"]


NUMBERS = "".join(f"{n * n}\t" for n in range(9000)).encode()


def test_an_archive_that_is_cut_or_none_is_named(pack, target):
    archive = pack(("QQP/train.tsv", NUMBERS))
    whole = archive.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-500], b"", b"<html>"):
        archive.write_bytes(damaged)
        refused(archive, target, "cannot be unpacked")


@pytest.mark.parametrize("start", [200, 9000, 20_000])
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_damaged_contents_of_a_zip_file_are_named(tmp_path, target, start, byte):
    archive = zipped(tmp_path / "a.zip", ("QQP/train.tsv", NUMBERS))
    whole = archive.read_bytes()
    archive.write_bytes(whole[:start] + byte * 200 + whole[start + 200 :])
    with pytest.raises(DataError, match="cannot be unpacked") as told:
        extract(archive, {"QQP/train.tsv": target})
    assert str(archive) in str(told.value)


@pytest.mark.parametrize("size", ["-512", "-1", "x", "0"])
def test_a_size_that_is_none_makes_no_empty_file(tmp_path, target, size):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tarred:
        info = tarfile.TarInfo("QQP/train.tsv")
        info.size = len(TEXT)
        info.pax_headers = {"size": size}
        tarred.addfile(info, io.BytesIO(TEXT))
    refused(archive, target, "has the size -|to have contents, got none|cannot be unpacked")


def test_a_header_that_says_it_is_gigabytes_long(tmp_path, target):
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 64 << 30
    archive = tmp_path / "a.tar"
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    refused(archive, target, "cannot be unpacked")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_every_changed_byte_ends_in_one_line_or_in_the_file(tmp_path, target, kind):
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        zipped(archive, ("QQP/train.tsv", TEXT), compression=zipfile.ZIP_LZMA)
    else:
        with tarfile.open(archive, f"w:{kind[4:]}", format=tarfile.PAX_FORMAT) as tarred:
            info = tarfile.TarInfo("QQP/train.tsv")
            info.size, info.pax_headers = len(TEXT), {"comment": "ä"}
            tarred.addfile(info, io.BytesIO(TEXT))
    whole = archive.read_bytes()
    for place in range(0, min(len(whole), 2200), 11 if kind == "tar" else 3):
        for byte in (0, 255, whole[place] ^ 1):
            archive.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                extract(archive, {"QQP/train.tsv": target})
            except DataError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert target.stat().st_size > 0


def test_an_encrypted_member_is_named(tmp_path, target):
    archive = zipped(tmp_path / "a.zip", ("QQP/train.tsv", TEXT))
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flag in the member's own header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    refused(archive, target, "cannot be unpacked: .*encrypted")
