//! Rooms import in one direction only: the table of `docs/architecture.md`, held against the source.
//!
//! Rust lets modules of a crate import each other in circles without a word; this test is the word.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The page whose table says which room may import which.
const PAGE: &str = include_str!("../../src/docs/architecture.md");

#[test]
fn every_room_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (room, allowed) in table() {
        for file in sources(&source_dir().join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            let forbidden =
                imported(&text).into_iter().filter(|it| it != room && !allowed.contains(it.as_str()));
            wrong.extend(forbidden.map(|it| format!("{} imports `{it}`", file.display())));
        }
    }
    assert!(wrong.is_empty(), "against the table in docs/architecture.md:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_exactly_the_rooms_that_there_are() {
    let entries = fs::read_dir(source_dir()).unwrap().map(|entry| entry.unwrap());
    let rooms: BTreeSet<_> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(table().keys().map(|room| (*room).to_owned()).collect::<BTreeSet<_>>(), rooms);
}

#[test]
fn the_table_has_no_circle() {
    let table = table();
    for room in table.keys() {
        let mut reached = BTreeSet::new();
        let mut next: Vec<_> = table[room].iter().collect();
        while let Some(other) = next.pop() {
            assert_ne!(other, room, "`{room}` reaches itself");
            if reached.insert(other) {
                next.extend(&table[other]);
            }
        }
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::{\n    crypto,\n    envelope::{Id, WrappedKey},\n};\nuse crate::name::FileName;\n\
                //! [`crate::cli`]\nfn f() -> crate::keys::KeyError {}";
    let expected: BTreeSet<_> = ["crypto", "envelope", "keys", "name"].map(str::to_owned).into();
    assert_eq!(imported(text), expected);
}

/// The rows ``| `room` | what it knows | `may`, `import` |`` of the page.
fn table() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [room, _, imports] = cells.try_into().ok()?;
        let room = room.strip_prefix('`')?.strip_suffix('`')?;
        Some((room, imports.split('`').skip(1).step_by(2).collect()))
    });
    rows.collect()
}

fn source_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

/// The rooms that `crate::` leads to in `text`, comments and unit tests left out.
fn imported(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    code.split("crate::").skip(1).flat_map(first_names).collect()
}

/// The names at the top of what follows `crate::`: one, or those of a list in braces.
fn first_names(rest: &str) -> Vec<String> {
    let Some(list) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let (mut depth, mut item, mut names) = (0, String::new(), Vec::new());
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(identifier(item.drain(..).as_str().trim_start())),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                item.push(c);
            }
        }
    }
    names.push(identifier(item.trim_start()));
    names.retain(|name| !name.is_empty());
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
