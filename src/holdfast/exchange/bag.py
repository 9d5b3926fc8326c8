"""BagIt (RFC 8493): the tag files of a bag, written and read. What a bag claims is proven before it is believed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

DATA = "data"
DECLARATION, INFO, FETCH = "bagit.txt", "bag-info.txt", "fetch.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
MAX_TAG_BYTES = 256 << 20
"""A manifest of more bytes is refused: it would have some millions of lines, all held in memory."""

_MAX_LINE = 64 << 10
_VERSION = re.compile(r"BagIt-Version: (0\.9[3-7]|1\.0)")
_MOST_LINE = 64 << 10
"""No path is that long."""

_MANIFEST = re.compile(r"(tag)?manifest-([a-z0-9]+)\.txt")
_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+\*?(?:\./)?(.+)")
_OXUM = re.compile(r"(\d+)\.(\d+)")

Tell = Callable[[str], object]


# -- writing -----------------------------------------------------------------------------------------------------------


def line(digest: str, path: str) -> bytes:
    """A line of a manifest. Names come from `naming.plain`: nothing in them needs another form."""
    return f"{digest.removeprefix('sha256:')}  {path}\n".encode()


def info(fields: list[tuple[str, str]]) -> bytes:
    """The bytes of bag-info.txt; what has more than one line is folded as the standard has it."""
    return "".join(f"{key}: {_folded(value)}\n" for key, value in fields if value).encode()


def _folded(value: str) -> str:
    return "\n ".join(part.strip() for part in re.split(r"[\r\n]+", value.strip()))


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Claims:
    """What the tag files of a bag say. `payload`, `tags`: by algorithm, the digest of each path."""

    payload: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    info: list[tuple[str, str]] = field(default_factory=list)


def read(files: dict[str, int], read_file: Callable[[str, int], bytes], tell: Tell) -> Claims:
    """The claims of a bag, of whose files paths and sizes are given; what is wrong with them is told.

    Every payload file must stand in every payload manifest, and every file that a manifest names must be there.
    """
    claims = Claims()
    if not _declared(files, read_file, tell):
        return claims
    if files.get(FETCH):
        tell(f"{FETCH}: the bag lists files that are to be fetched from elsewhere; complete it first")
    for path in sorted(files):
        match = _MANIFEST.fullmatch(path)
        if match is None:
            continue
        if match[2] not in ALGORITHMS:
            tell(f"{path}: the algorithm {match[2]} is not known")
            continue
        if files[path] > MAX_TAG_BYTES:
            tell(f"{path}: {files[path]} bytes are more than a manifest may have")
            continue
        into = claims.tags if match[1] else claims.payload
        into[match[2]] = _manifest(path, read_file(path, MAX_TAG_BYTES), files, tell, payload=not match[1])
    _complete(claims, files, tell)
    if INFO in files:
        claims.info = _info(read_file(INFO, _MAX_LINE * 16), tell)
        _oxum(claims.info, files, tell)
    return claims


def prove(claims: Claims, path: str, pieces: Iterator[bytes], tell: Tell) -> str:
    """Read a file whole, against all that manifests say of it; its SHA-256 in hexadecimal."""
    wanted = {name: said[path] for kind in (claims.payload, claims.tags) for name, said in kind.items() if path in said}
    hashes = {name: hashlib.new(name) for name in {*wanted, "sha256"}}
    for piece in pieces:
        for one in hashes.values():
            one.update(piece)
    for name, digest in wanted.items():
        if hashes[name].hexdigest() != digest:
            tell(f"{path}: its {name} is {hashes[name].hexdigest()}, and the manifest says {digest}")
    return hashes["sha256"].hexdigest()


def _declared(files: dict[str, int], read_file: Callable[[str, int], bytes], tell: Tell) -> bool:
    if DECLARATION not in files:
        tell(f"{DECLARATION} is missing: this is no bag")
        return False
    lines = read_file(DECLARATION, 4096).decode("utf-8-sig", "replace").splitlines()
    if len(lines) != 2 or not _VERSION.fullmatch(lines[0].rstrip()):
        tell(f"{DECLARATION}: no version of BagIt that is known (0.93 to 1.0)")
        return False
    if lines[1].strip().lower() != "tag-file-character-encoding: utf-8":
        tell(f"{DECLARATION}: {lines[1]!r} is an encoding that is not read; only UTF-8 is")
        return False
    return True


def _manifest(path: str, data: bytes, files: dict[str, int], tell: Tell, *, payload: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = hashlib.new(path.partition("-")[2].removesuffix(".txt")).digest_size * 2
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        tell(f"{path}: it is not UTF-8")
        return found
    for number, whole in enumerate(lines, 1):
        text = whole.removesuffix("\r")
        if not text:
            continue
        match = _LINE.fullmatch(text) if len(text) <= _MOST_LINE else None
        if match is None or len(match[1]) != wanted:
            tell(f"{path}, line {number}: no digest and path")
            continue
        name = _decoded(match[2], files)
        if not _is_inside(name, payload=payload):
            tell(f"{path}, line {number}: {name!r} leads out of {'the payload' if payload else 'the bag'}")
        elif found.setdefault(name, match[1].lower()) != match[1].lower():
            tell(f"{path}, line {number}: {name!r} has two digests")
    return found


def _decoded(name: str, files: dict[str, int]) -> str:
    """`%0A`, `%0D` and `%25` stand for what a line cannot hold; writers who do not know that mean the name as it is."""
    decoded = re.sub(r"%(0[AaDd]|25)", lambda found: chr(int(found[1], 16)), name)
    # Some file systems hand names back in another Unicode form than they were given in (RFC 8493, section 6).
    forms = [decoded, name, *(unicodedata.normalize(form, decoded) for form in ("NFC", "NFD"))]
    return next((one for one in forms if one in files), decoded)


def _is_inside(name: str, *, payload: bool) -> bool:
    steps = name.split("/")
    if any(step in ("", ".", "..") for step in steps) or "\0" in name or "\\" in steps[0] or ":" in steps[0][1:2]:
        return False
    return (steps[0] == DATA and len(steps) > 1) if payload else steps[0] != DATA


def _complete(claims: Claims, files: dict[str, int], tell: Tell) -> None:
    if not claims.payload:
        tell("no payload manifest: nothing proves the files")
    payload = {path for path in files if path.startswith(f"{DATA}/")}
    for algorithm, said in sorted(claims.payload.items()):
        for path in sorted(payload - said.keys()):
            tell(f"{path} is not in manifest-{algorithm}.txt")
        for path in sorted(said.keys() - payload):
            tell(f"{path} is missing: manifest-{algorithm}.txt names it")
    for algorithm, said in sorted(claims.tags.items()):
        for path in sorted(said.keys() - files.keys()):
            tell(f"{path} is missing: tagmanifest-{algorithm}.txt names it")


def _info(data: bytes, tell: Tell) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        tell(f"{INFO}: it is not UTF-8")
        return found
    for text in lines:
        key, colon, value = text.partition(":")
        if text[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{text.strip()}")
        elif colon and key.strip():
            found.append((key.strip(), value.strip()))
        elif text.strip():
            tell(f"{INFO}: {text[:80]!r} is no label and value")
    return found


def _oxum(fields: list[tuple[str, str]], files: dict[str, int], tell: Tell) -> None:
    payload = [size for path, size in files.items() if path.startswith(f"{DATA}/")]
    for key, value in fields:
        if key.lower() == "payload-oxum":
            match = _OXUM.fullmatch(value)
            if match is None or (int(match[1]), int(match[2])) != (sum(payload), len(payload)):
                tell(f"{INFO}: Payload-Oxum is {value}, and there are {sum(payload)}.{len(payload)}")
