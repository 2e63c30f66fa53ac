"""Write the tables of docs/results from the figures kept in benchmarks/results.

python -m benchmarks.results_pages                            rewrite the tables between the markers of each page
python -m benchmarks.results_pages --check                    change nothing; exit code 1 if a page is not current
python -m benchmarks.results_pages --keep RESULTS ...         first keep what `benchmarks.quality` wrote; results of
                                                              another protocol or of uncommitted code are refused

A page has `<!-- table: NAME -->` before a table and `<!-- end of table -->` after it. NAME is a file of
benchmarks/results without `.json`; `NAME/VIEW` shows the rows that the file lists for that view. The table `sources`
has command, commit and hardware of every file. A commit is the one that recorded the figures.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.result_tables import markdown
from serving.files.whole_files import write_whole

RESULTS = Path(__file__).parent / "results"
PAGES = Path(__file__).parents[1] / "docs" / "results"
NAME = "similar-songs"
#: The table of commands, commits and hardware of all results.
SOURCES = "sources"
_TABLE = re.compile(
    r"(?P<start><!-- table: (?P<name>\S+) -->\n)(?P<lines>.*?)(?P<end><!-- end of table -->)", re.DOTALL
)


def main(arguments: list[str]) -> int:
    """Writes or checks the pages."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results_pages",
        description=(__doc__ or "").split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a page is not current")
    parser.add_argument(
        "--keep", type=Path, metavar="RESULTS", help="results.json of benchmarks.quality to keep (default: none)"
    )
    parser.add_argument(
        "--name",
        default=NAME,
        help="of --keep: start of the files' names, for studies that stand apart (default: %(default)s)",
    )
    parser.add_argument("--command", help="of --keep: the command that was run (default: none)")
    parser.add_argument(
        "--hardware", help="of --keep: the class of hardware, such as `2 cores, no GPU` (default: none)"
    )
    options = parser.parse_args(arguments)
    if options.keep:
        if not (options.command and options.hardware):
            parser.error("--keep needs --command and --hardware: figures without them cannot be repeated")
        source = {"command": options.command, "hardware": options.hardware}
        keep(json.loads(options.keep.read_text()), source, RESULTS, options.name)
    outdated = []
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text()
        if (current := with_tables(text, RESULTS, page.name)) != text:
            outdated.append(page.name)
            if not options.check:
                write_whole(page, current)
    sys.stdout.write("".join(f"{name}: {'not current' if options.check else 'written'}\n" for name in outdated))
    return int(options.check and bool(outdated))


def with_tables(text: str, results: Path, page: str) -> str:
    """Returns a page whose tables are those of the results.

    Args:
        text: The page.
        results: Folder of the kept results.
        page: Its name, for messages.

    Raises:
        ValueError: If a marker has no end, or names no kept result.
    """
    if text.count("<!-- table: ") != len(_TABLE.findall(text)):
        raise ValueError(f"{page}: expected `<!-- end of table -->` after each `<!-- table: NAME -->`")

    def filled(found: re.Match[str]) -> str:
        if found["name"] == SOURCES:
            return found["start"] + _lines(markdown(_sources(results))) + found["end"]
        name, _, view = found["name"].partition("/")
        file = results / f"{name}.json"
        if not file.exists():
            raise ValueError(f"{page}: expected a file {file.name} in {results} for the table {found['name']!r}")
        lines = markdown(json.loads(file.read_text()), view or None)
        return found["start"] + _lines(lines) + found["end"]

    return _TABLE.sub(filled, text)


def _lines(lines: list[str]) -> str:
    return "\n" + "".join(f"{line}\n" for line in lines) + "\n"


def _sources(results: Path) -> dict[str, Any]:
    """Returns where each kept result is from, as a result of its own."""
    found = [json.loads(file.read_text())["source"] for file in sorted(results.glob("*.json"))]
    rows = [[source.get(name) for name in ("figures", "command", "commit", "hardware", "note")] for source in found]
    shown = [[*row[:1], f"`{row[1]}`" if row[1] else None, *row[2:]] for row in rows]
    return {"columns": dict.fromkeys(("figures", "command", "commit", "hardware", "note"), "text"), "rows": shown}


def keep(studies: list[dict[str, Any]], source: dict[str, str], results: Path, name: str = NAME) -> None:
    """Keeps the table of each study of `benchmarks.quality`, and one of all noise ceilings; views stay.

    Args:
        studies: What results.json holds.
        source: Command and class of hardware; the commits and the digest of the data are the studies' own.
        results: Folder of the kept results.
        name: Start of the files' names.

    Raises:
        ValueError: If results are of another protocol, or of code that is in no commit. Then nothing is written.
    """
    from benchmarks.quality.kept import kept_ceiling, kept_table

    found = {f"{name}-{study['data']}": kept_table(study) for study in studies}
    sources = {
        f"{name}-{study['data']}": {
            "figures": f"{name.replace('-', ' ')}, {study['data']}",
            **source,
            "commit": _commits(study),
            "note": f"data {study['made from']['data'][0]}",
        }
        for study in studies
    }
    found["ceiling"] = kept_ceiling(studies)
    commits = ", ".join(dict.fromkeys(_commits(study) for study in studies))
    sources["ceiling"] = {"figures": "noise ceilings", **source, "commit": commits}
    for each, table in found.items():
        file = results / f"{each}.json"
        views = json.loads(file.read_text()).get("views", {}) if file.exists() else {}
        write_whole(file, dumped({"source": sources[each], **table, "views": views}))


def _commits(study: dict[str, Any]) -> str:
    """Returns the commits of a study's rows: where only documents changed between them, their figures go together."""
    commits = study["made from"]["commits"]
    if uncommitted := [commit for commit in commits if not commit.isalnum() or commit == "unknown"]:
        expected = "expected results of committed code, as others cannot be repeated"
        raise ValueError(f"{study['data']}: {expected}. Received: {', '.join(uncommitted)}")
    return ", ".join(commits)


def dumped(result: dict[str, Any]) -> str:
    """Returns a kept result as JSON, a line for each row."""
    head = {name: value for name, value in result.items() if name != "rows"}
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in result["rows"])
    shown = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{shown},\n "rows": [\n{rows}\n ]\n}}\n'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
