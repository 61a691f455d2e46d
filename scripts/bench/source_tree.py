"""A source tree to unpack: always the same one, shaped like the sources of a kernel, with its history in one pack."""

import random
import shutil

from process import run
from systems import CLEAN_ENVIRONMENT

LIMIT = 600


def make(directory, files, model=None):
    """Fills `directory/source` with `files` files (or a copy of `model`), commits them and packs `directory/source.tar`."""
    source = directory / "source"
    if model is None:
        generate(source, files)
    else:
        shutil.copytree(model, source, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    commit(source)
    run(["tar", "-C", source, "-cf", directory / "source.tar", "."], LIMIT)
    return source, directory / "source.tar"


def generate(source, files):
    """Sizes are log-normal around 6 KiB; about fifteen files in a directory; four levels."""
    dice = random.Random(20240229)
    words = ["static", "int", "return", "struct", "const", "if", "for", "void", "unsigned", "device", "buffer", "flags"]
    lines = [line(dice, words) for _ in range(3000)]
    for number in range(files):
        bunch = number // 15
        directory = source / f"part{bunch % 17:02}" / f"area{bunch % 5}" / f"unit{bunch:04}"
        directory.mkdir(parents=True, exist_ok=True)
        begin, count = dice.randrange(len(lines)), int(min(dice.lognormvariate(5.0, 1.1), 6000)) + 1
        content = "".join(lines[(begin + i) % len(lines)] for i in range(count))
        (directory / f"file{number:05}.c").write_text(f"/* {number} */\n{content}")


def line(dice, words):
    return "\t" * dice.randrange(3) + " ".join(dice.choices(words, k=dice.randrange(2, 11))) + ";\n"


def commit(source):
    git = ["git", "-c", "core.fsync=none", "-c", "gc.auto=0", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    dates = {"GIT_AUTHOR_DATE": "2024-02-29T00:00:00Z", "GIT_COMMITTER_DATE": "2024-02-29T00:00:00Z"}
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "All of it"], ["repack", "-adq"]):
        run([*git, *words], LIMIT, cwd=source, env={**CLEAN_ENVIRONMENT, **dates})
