"""The order in which fsck looks at a store, and what it does where a part cannot be used."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from holdfast.blobs import LocalBlobs
from holdfast.blobs.contract import BlobStore
from holdfast.care.fsck import beside, blobs, index, journal, layout, packs, passes, recipes, rows, whole
from holdfast.care.fsck.chosen import Chosen
from holdfast.care.fsck.matched import MALFORMED
from holdfast.care.fsck.passes import Pass
from holdfast.care.fsck.portion import Portion, Way
from holdfast.care.fsck.report import TOO_NEW, FsckReport, Gathered, OnFinding, Progress
from holdfast.care.fsck.scene import Scene
from holdfast.care.fsck.view import View
from holdfast.disk import Disk
from holdfast.engine import elsewhere, placing, recover, transaction
from holdfast.engine.handle import Handle
from holdfast.engine.open import place_of
from holdfast.errors import ChainForkedError, ConflictError, HoldfastError, InvalidValueError, NotAStoreError
from holdfast.formats.lines import Located
from holdfast.formats.marker import Marker
from holdfast.index.audit import Audit
from holdfast.journal import Journal
from holdfast.values import change
from holdfast.values.change import Head


def check(
    handle: Handle, *, quick: bool = False, portion: Portion | None = None, progress: Progress | None = None,
    on_finding: OnFinding | None = None,
) -> FsckReport:  # fmt: skip
    """Check the store of an open handle; see `check_path`. ConflictError inside a transaction of this thread."""
    handle.alive()
    if transaction.current(handle) is not None:
        raise ConflictError(
            "fsck inside a transaction would see what is not committed",
            remedy="End the transaction first.",
        )
    _compatible(quick=quick, portion=portion)
    out = Gathered(on_finding, progress)
    scene = _scene(handle.root, out, handle.disk, handle.blobs, quick=quick)
    scene.leaves_no_trace = handle.read_only
    return _run(scene, portion)


def check_path(
    path: str | os.PathLike[str],
    *,
    quick: bool = False,
    portion: Portion | None = None,
    progress: Progress | None = None,
    on_finding: OnFinding | None = None,
) -> FsckReport:
    """Check the store in a folder, also one that does not open. Changes nothing in it; writers may go on.

    Full: every blob is read, every row derived anew (in a temporary folder; TMPDIR says where) and compared. `quick`:
    chain, journal, rules between rows, and which blobs are there with which size. `portion`: all of the full check,
    but only these contents are read; with a span of time the position is kept in the store's `state.sqlite3`, if that
    can be written to, and nothing else is. `on_finding` is told each finding when it is found, `progress` how far the
    work is. Memory does not grow with the store, except for findings kept.

    Raises NotAStoreError if the folder has nothing of a store, NoSpaceError (no room for the temporary index),
    InvalidValueError (`quick` and `portion`).
    """
    root = os.path.abspath(place_of(os.fspath(path)))
    if not os.path.isdir(root):
        raise NotAStoreError(f"{root} is not a folder", path=root)
    _compatible(quick=quick, portion=portion)
    disk = Disk()
    out = Gathered(on_finding, progress)
    return _run(_scene(root, out, disk, elsewhere.blobs_at(root, disk) or LocalBlobs(root, disk), quick=quick), portion)


def _compatible(*, quick: bool, portion: Portion | None) -> None:
    if quick and portion is not None:
        raise InvalidValueError(
            "a quick check reads no contents, so no portion of them", where="portion", reason="quick",
            remedy="Leave out one of the two.",
        )  # fmt: skip


def _scene(root: str, out: Gathered, disk: Disk, blob_store: BlobStore, *, quick: bool) -> Scene:
    return Scene(root, disk, Journal(root, disk), blob_store, View(root), out, quick)


def _run(scene: Scene, portion: Portion | None) -> FsckReport:
    began_s = time.monotonic()
    try:
        marker = layout.read_marker(scene)
        if scene.out.has(TOO_NEW):
            return scene.out.report(quick=scene.quick, portion=portion)
        layout.check_names(scene)
        if scene.quick or portion is not None or not _check_at_once(scene, marker):
            index.check_file(scene)
            _settle_origin(scene, marker)
            if scene.needs is not None:
                index.check_chain(scene)
            journal.check_journal(scene)
            if portion is not None and portion.way is Way.SPAN:
                scene.chosen = passes.begin(scene, marker, seconds=portion.amount, began_s=began_s)
            _check_rows_and_blobs(scene, portion)
        index.check_others(scene)
        full_pass = scene.chosen.report() if isinstance(scene.chosen, Pass) else None
        return scene.out.report(quick=scene.quick, portion=portion, full_pass=full_pass)
    finally:
        if isinstance(scene.chosen, Pass):
            scene.chosen.close()
        scene.packs.close()
        scene.view.close()


def _check_at_once(scene: Scene, marker: Marker | None) -> bool:
    """Index and contents by two processes. False if nothing was checked: it cannot be so, or something is wrong there.

    What is found is told in the same order as if one came after the other.
    """
    out, watched = scene.out, _Watched(scene.out.progress)
    of_rules, apart = (Gathered(None, watched if out.progress else None, before=out) for _ in range(2))
    with beside.chain_and_rows(scene, lambda one: _settle_origin(one, marker)) as aside:
        sound = None
        if aside is not None:
            try:
                scene.out = of_rules
                if scene.needs is not None and index.are_pages_whole(scene, scene.needs):
                    rows.check_rules(scene, matched=True)
                    scene.out = apart
                    _check_contents(scene, None)
                    apart.step(0, None, "checking the index", "changes")
                    sound = aside.sound()
            except Exception:
                # Nobody has checked yet what was read of this index: what is wrong with it is said by the other way.
                if watched.raised:
                    raise
            finally:
                scene.out = out
    if sound is None:
        scene.view.close()
        scene.needs, scene.has_places, scene.knows_all = None, False, True
        return False
    scene.index, scene.rows = sound.held, sound.rows
    out.checked.update(sound.checked)
    _settle_origin(scene, marker)
    if not sound.journal:
        journal.check_journal(scene)
    if scene.rows is not None:
        rows.check_rows(scene)
        out.absorb(of_rules)
    elif rows.check_rows(scene):
        rows.check_rules(scene)
    out.absorb(apart)
    return True


class _Watched:
    """Tells whoever watches how far the work is, and whether they have stopped it."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.raised = False

    def __call__(self, done: int, total: int | None, what: str, unit: str) -> None:
        if self._progress:
            self.raised = True
            self._progress(done, total, what, unit)
            self.raised = False


def _check_contents(scene: Scene, portion: Portion | None) -> None:
    if portion is None:
        whole.prove_packs(scene)
    _check_blobs(scene, portion)
    packs.check_packs(scene)
    recipes.check_recipes(scene)


def _check_rows_and_blobs(scene: Scene, portion: Portion | None) -> None:
    if scene.needs is None:
        with _stand_in(scene) as stand_in:
            scene.needs = stand_in
            _check_contents(scene, portion)
        scene.needs = None
        return
    # Rows that are not what the chain gives break rules too; saying both would only be louder.
    if scene.quick or rows.check_rows(scene):
        rows.check_rules(scene, matched=scene.rows is not None)
    _check_contents(scene, portion)


def _check_blobs(scene: Scene, portion: Portion | None) -> None:
    if portion is None or portion.way is Way.SPAN:
        blobs.check_blobs(scene)
        return
    contents, stored_bytes = scene.needs.blobs() if scene.needs is not None else (0, 0)
    if not scene.has_places:  # rows that were derived here say nothing of files
        contents, stored_bytes = blobs.count_files(scene)
    scene.chosen = Chosen(portion.picker(contents, stored_bytes), places=scene.has_places)
    blobs.check_blobs(scene, share=portion.expected(contents, stored_bytes))


@contextlib.contextmanager
def _stand_in(scene: Scene) -> Iterator[Audit | None]:
    """Without a usable index: one derived from what can be read of the chain, to tell which content is needed."""
    with contextlib.ExitStack() as stack:
        sources = [recover.from_journal(scene.journal)]
        if scene.view.audit is not None:
            sources.append(rows.from_audit(scene.view.audit))
        found: Audit | None = None
        try:
            found, result = stack.enter_context(rows.derived(scene, sources))
            _find_in_packs(scene, found)
            scene.knows_all = scene.knows_all and not result.unreachable and not result.trouble
        except ChainForkedError as error:
            scene.out.found("not-checked", "which content is needed", error.message)
        except MALFORMED as error:
            scene.out.found("chain-not-applicable", "chain", str(error))
        yield found


def _find_in_packs(scene: Scene, found: Audit) -> None:
    """Rows of a stand-in for what the packs list, to be checked like any others."""
    found.index.begin()
    placing.from_packs(
        found.index.physical, scene.root, scene.disk, wanted=found.index.physical.wanted, seen=lambda _: None
    )
    placing.from_recipes(found.index.physical, scene.root, scene.disk, wanted=found.index.physical.wanted)
    found.index.commit()


def _settle_origin(scene: Scene, marker: Marker | None) -> None:
    """Where the chain begins: as the marker says, unless the chain itself says otherwise with one voice."""
    claimed = None if marker is None else change.origin(marker.store_id)
    heard = {prev for prev in (_first_of_index(scene), _first_of_journal(scene)) if prev is not None}
    scene.origin = claimed
    if len(heard) == 1 and (claimed is None or claimed.hash not in heard):
        scene.origin = Head(1, heard.pop())
        if claimed is not None:
            scene.out.found(
                "marker-mismatch", "holdfast.json", f"it names the store {marker.store_id if marker else ''}"
            )


def _first_of_index(scene: Scene) -> bytes | None:
    with contextlib.suppress(HoldfastError):
        row = next(scene.needs.chain(), None) if scene.needs is not None else None
        found = None if row is None else index.verified(row)
        if found is not None and found.entry.first == 1:
            return found.entry.prev
    return None


def _first_of_journal(scene: Scene) -> bytes | None:
    with contextlib.suppress(HoldfastError, FileNotFoundError):
        for _, item in scene.journal.scan():
            if isinstance(item, Located):
                return item.transaction.entry.prev if item.transaction.entry.first == 1 else None
    return None
