"""`sqlite_commits.py FILE JOURNAL_MODE COUNT`: one transaction for each of COUNT rows, durable each time. Prints seconds."""

import sqlite3
import sys
import time

path, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
base = sqlite3.connect(path, isolation_level=None)
granted = base.execute(f"PRAGMA journal_mode={mode}").fetchone()[0]
if granted != mode:
    sys.exit(f"journal mode {mode} was refused: {granted}")
base.execute("PRAGMA synchronous=FULL")
base.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, text TEXT)")
begin = time.perf_counter()
for number in range(count):
    base.execute("INSERT INTO events (text) VALUES (?)", (f"event {number} " * 8,))
taken = time.perf_counter() - begin
found = base.execute("SELECT count(*) FROM events").fetchone()[0]
if found != count or base.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
    sys.exit("the database is not what was written")
print(count, taken)
