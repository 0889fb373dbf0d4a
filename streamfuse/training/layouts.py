"""Where the two images of each registered pair lie on disk: the usual layouts, named folders, or a list.

Found by themselves: a thermal and a visible folder beside each other (ir/vis, infrared/visible, cropinfrared/
crop_LR_visible, lwir/visible, thermal/rgb, ...), in the set's folder or up to two levels below (train/ir), and the same
folders below both (infrared/train, visible/train). Where a set comes in parts, the part called `train` is taken alone.
Knows nothing of pixels.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamfuse.errors import UserError
from streamfuse.sources.pairing import AFFIX, pair_by_names
from streamfuse.sources.recording_folder import IMAGE_ENDINGS, is_image, natural_key
from streamfuse.training.settings import FolderConfig

THERMAL_WORDS = ("ir", "infrared", "thermal", "lwir", "tir", "inf", "fir", "i", "t")
VISIBLE_WORDS = ("vis", "visible", "vi", "rgb", "visual", "color", "colour", "v")
INSIDE = re.compile("(?P<thermal>infrared|thermal|lwir)|(?P<visible>visible|visual)")
"""Words that say it even within a longer name: cropinfrared, crop_LR_visible, visible_Enhance."""
REGISTERED = ("cropinfrared", "crop_lr_visible")
"""RoadScene has further infrared and visible folders beside these two, which do not show the same view."""
TRAINING_PARTS = ("train", "training")
DEPTH = 2
NAMED = 4

Couple = tuple[Path, Path]


@dataclass(frozen=True, slots=True)
class PairFiles:
    """The files of one registered pair; `part` is the folder below the set that they come from, "" for the set."""

    thermal: Path
    visible: Path
    part: str = ""

    @property
    def name(self) -> str:
        return self.thermal.stem


def find_pairs(root: Path, settings: FolderConfig) -> list[PairFiles]:
    """The pairs of one set in natural order.

    Raises UserError: no such folder, nothing in it, folders whose names do not tell, an image without its partner
    (unless `only` leaves it out), and whatever is wrong with a list.
    """
    folder = root / settings.folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data set folder; name the folder that holds the sets with --data")
    if settings.pairs is not None:
        return _only(_listed(folder, folder / settings.pairs), folder, settings)
    if settings.thermal is not None and settings.visible is not None:
        couples = _parts((folder / settings.thermal, folder / settings.visible))
    else:
        couples = _couples(folder, DEPTH)
    if not couples:
        raise UserError(_nothing_found(folder))
    wanted = _stems(folder, settings)
    pairs = [pair for couple in couples for pair in _paired(couple, folder, wanted)]
    return _only(pairs, folder, settings)


def _couples(folder: Path, depth: int) -> list[Couple]:
    """Folders with a thermal and a visible name beside each other, here or else below."""
    here = _folders(folder)
    thermal, visible = _called(here, "thermal", THERMAL_WORDS), _called(here, "visible", VISIBLE_WORDS)
    if thermal and visible:
        return _parts((_the_one(thermal, "thermal"), _the_one(visible, "visible")))
    if not depth:
        return []
    return [couple for child in _training(here) for couple in _couples(child, depth - 1)]


def _parts(couple: Couple) -> list[Couple]:
    """The couple itself where it holds images, else its folders of equal names."""
    if any(_images(folder) for folder in couple):
        return [couple]
    below = [{child.name: child for child in _folders(folder)} for folder in couple]
    shared = _training([below[0][name] for name in below[0] if name in below[1]])
    if not shared:
        empty = " and ".join(str(folder) for folder in couple)
        raise UserError(f"{empty}: hold no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    return [(child, below[1][child.name]) for child in shared]


def _called(folders: Iterable[Path], kind: str, words: Sequence[str]) -> list[Path]:
    """Folders called one of `words`; else those whose names hold one of them, and nothing of the other kind."""
    for names in (REGISTERED, words):
        named = [folder for folder in folders if folder.name.lower() in names and _kinds(folder.name.lower()) <= {kind}]
        if named:
            return named
    return [folder for folder in folders if _kinds(folder.name.lower()) == {kind}]


def _kinds(name: str) -> set[str]:
    tokens = set(re.split(r"[^a-z]+", name))
    inside = {str(match.lastgroup) for match in INSIDE.finditer(name)}
    said = {"thermal": tokens & set(THERMAL_WORDS[:-2]), "visible": tokens & set(VISIBLE_WORDS[:-1])}
    return inside | {kind for kind, found in said.items() if found}


def _the_one(folders: list[Path], kind: str) -> Path:
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise UserError(
            f"{folders[0].parent}: several folders could be the {kind} one: {names}; say which with `thermal:` and "
            "`visible:` in the set"
        )
    return folders[0]


def _training(folders: list[Path]) -> list[Path]:
    return [folder for folder in folders if folder.name.lower() in TRAINING_PARTS] or folders


def _paired(couple: Couple, root: Path, wanted: set[str] | None) -> list[PairFiles]:
    """Pairs of two folders by name; images that `wanted` leaves out need no partner."""
    thermal, visible = (_images(folder) for folder in couple)
    for folder, images in zip(couple, (thermal, visible), strict=True):
        if not images:
            raise UserError(f"{folder}: holds no images ({', '.join(sorted(IMAGE_ENDINGS))})")
    ranks = pair_by_names([file.stem for file in thermal], [file.stem for file in visible])
    hot, seen = dict(zip(ranks.thermal, thermal, strict=True)), dict(zip(ranks.rgb, visible, strict=True))
    _check_partners(couple, hot, seen, wanted)
    shared = couple[0].relative_to(root) if couple[0].is_relative_to(root) else couple[0]
    return [PairFiles(hot[rank], seen[rank], shared.as_posix()) for rank in sorted(hot.keys() & seen.keys())]


def _check_partners(couple: Couple, hot: dict[int, Path], seen: dict[int, Path], wanted: set[str] | None) -> None:
    for rank in hot.keys() & seen.keys():
        if _bare(hot[rank]) != _bare(seen[rank]):
            raise UserError(
                f"{couple[0]} and {couple[1]}: the names do not say what belongs together "
                f"({hot[rank].name}, {seen[rank].name}); list the pairs in a file and name it with `pairs:`"
            )
    for kind, files, others in (("visible", hot, seen), ("thermal", seen, hot)):
        alone = [files[rank].stem for rank in sorted(files.keys() - others.keys())]
        alone = [stem for stem in alone if wanted is None or stem in wanted]
        if alone:
            more = f" and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
            raise UserError(
                f"{couple[0]} and {couple[1]}: no {kind} partner for {', '.join(alone[:NAMED])}{more}; "
                "remove them, or name the pairs to take in `only:` or `pairs:`"
            )


def _bare(file: Path) -> str:
    return AFFIX.sub("", file.stem, count=1) or file.stem


def _listed(folder: Path, path: Path) -> list[PairFiles]:
    """Pairs from a list: thermal and visible file a line, parted by a comma or a tab; a first line may be a header."""
    rows = [(number, row) for number, row in enumerate(_rows(path), 1) if any(cell.strip() for cell in row)]
    pairs: list[PairFiles] = []
    for number, row in rows:
        if len(row) != 2:
            raise UserError(f"{path}, line {number}: needs two files, thermal and visible; found {len(row)} columns")
        files = [folder / cell.strip() for cell in row]
        missing = [file for file in files if not file.is_file()]
        if number == 1 and len(missing) == 2 and not any(file.suffix for file in files):
            continue
        if missing:
            raise UserError(f"{path}, line {number}: {missing[0]} is not there; paths are relative to {folder}")
        pairs.append(PairFiles(files[0], files[1]))
    if not pairs:
        raise UserError(f"{path}: lists no pairs; it needs one pair a line, thermal file and visible file")
    return pairs


def _rows(path: Path) -> list[list[str]]:
    text = _text(path)
    return list(csv.reader(text.splitlines(), delimiter="\t" if "\t" in text else ","))


def _stems(folder: Path, settings: FolderConfig) -> set[str] | None:
    return None if settings.only is None else set(_text(folder / settings.only).split())


def _only(pairs: list[PairFiles], folder: Path, settings: FolderConfig) -> list[PairFiles]:
    """Without what the list `only` leaves out; every name on it must be there."""
    wanted = _stems(folder, settings)
    if wanted is None:
        return pairs
    missing = wanted - {pair.name for pair in pairs}
    if missing:
        path = folder / str(settings.only)
        raise UserError(f"{path}: names {len(missing)} pairs that are not in {folder}, e.g. {min(missing)}")
    return [pair for pair in pairs if pair.name in wanted]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: a set names this list, but it is not there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: this list cannot be read: {error}") from error


def _folders(folder: Path) -> list[Path]:
    children = (child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return sorted(children, key=lambda child: natural_key(child.name))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images")
    return sorted(filter(is_image, folder.iterdir()), key=lambda file: natural_key(file.stem))


def _nothing_found(folder: Path) -> str:
    found = ", ".join(sorted(child.name for child in folder.iterdir())[:8]) or "nothing"
    return (
        f"{folder}: needs a folder called one of {', '.join(THERMAL_WORDS)} and beside it one called one of "
        f"{', '.join(VISIBLE_WORDS)}; found {found}; other names are said with `thermal:` and `visible:` in the set"
    )
