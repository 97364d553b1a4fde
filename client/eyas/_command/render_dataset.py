"""What the `eyas` command shows of a dataset: what it holds, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eyas._command.words import MOST_FILES, counted, plain, rest, unreadable
from eyas._findings import DatasetReport, Duplicates, PictureCount, PictureSize, PictureStatistics, Suspects

_MOST_GROUPS = 10
_MOST_GROUP_FILES = 5


def dataset(report: DatasetReport, title: str) -> RenderableType:
    """Returns what was found in a dataset: what it holds, then what is wrong with it, the gravest last."""
    counts = [(row.train, row.validation, row.test) for row in report.labels]
    sums = [report.sizes.train, report.sizes.validation, report.sizes.test]
    figures = Table(show_edge=False, pad_edge=False)
    figures.add_column("label")
    for name in ("train", "validation", "test", "all"):
        figures.add_column(name, justify="right")
    for row, count in zip(report.labels, counts, strict=True):
        figures.add_row(plain(row.label), *(f"{number:,}" for number in (*count, sum(count))))
    figures.add_section()
    figures.add_row("all", *(f"{number:,}" for number in (*sums, sum(sums))))
    # The title is no title of the table, which would fold a long path at the table's width.
    parts: list[RenderableType] = [plain(f"{title}: {counted(sum(sums), 'picture')}"), figures, Text()]
    if report.pictures is not None:
        parts.append(_statistics(report.pictures))
    parts += unreadable(report.unreadable_files)
    parts += [Text(warning, style="yellow") for warning in report.warnings]
    if report.duplicates is not None:
        parts += [Text(), *_duplicates(report.duplicates)]
    if report.suspects is not None:
        parts += [Text(), *_suspects(report.suspects)]
    return Group(*parts)


def _statistics(pictures: PictureStatistics) -> Text:
    def size(value: PictureSize) -> str:
        return f"{value.width_px} x {value.height_px}"

    def listed(counts: Sequence[PictureCount]) -> str:
        return ", ".join(f"{count.pictures:,} {count.name}" for count in counts)

    sizes = f"smallest {size(pictures.smallest)}, median {size(pictures.median)}, largest {size(pictures.largest)} pixels"
    return Text(f"{sizes}; {listed(pictures.formats)}; {listed(pictures.modes)}")


def _duplicates(found: Duplicates) -> list[RenderableType]:
    if not found.group_count:
        return [Text("No picture has an exact or near copy.", style="green")]
    across = f"across labels {found.files_across_labels:,}, across splits {found.files_across_splits:,}"
    copies = f"{counted(found.file_count, 'picture')} are copies of each other, in {counted(found.group_count, 'group')}"
    parts: list[RenderableType] = [Text(f"{copies}; {across}.")]
    shown = found.groups[:_MOST_GROUPS]
    for group in shown:
        kinds = ["exact" if group.exact else "near"]
        kinds += ["across labels"] * group.across_labels + ["across splits"] * group.across_splits
        parts.append(Text(f"  {', '.join(kinds)}:", style="red" if len(kinds) > 1 else ""))
        files = group.files[:_MOST_GROUP_FILES]
        parts += [plain(f"    {file.path}" + f"  ({file.label})" * group.across_labels) for file in files]
        parts += [Text(f"    and {group.file_count - len(files):,} more", style="dim")] * (group.file_count > len(files))
    return [*parts, *rest(found.group_count - len(shown))]


def _suspects(found: Suspects) -> list[RenderableType]:
    if not found.count:
        return [Text(f"No label of the {counted(found.examined, 'picture')} examined looks wrong.", style="green")]
    table = Table(show_edge=False, pad_edge=False)
    for name in ("picture", "label", "rather", "probability"):
        table.add_column(name, overflow="fold", justify="right" if name == "probability" else "left")
    shown = found.pictures[:MOST_FILES]
    for one in shown:
        table.add_row(plain(one.path), plain(one.label), plain(one.suggested_label), f"{one.probability:.2f}")
    look = "looks" if found.count == 1 else "look"
    first = ", the most doubtful first" if found.count > 1 else ""
    heading = f"{found.count:,} of {counted(found.examined, 'label')} {look} wrong{first}. A hard picture is not a wrong one."
    return [Text(heading), table, *rest(found.count - len(shown))]
