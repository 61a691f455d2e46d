//! Rooms import in one direction only: the table of `docs/architecture.md`, held against the source.
//!
//! Rust lets modules of a crate import each other in circles without a word; this test is the word.

use std::{collections::BTreeSet, fs, path::Path};

/// Each room with the rooms that it may import.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("name", &[]),
    ("crypto", &[]),
    ("envelope", &["crypto"]),
    ("object", &["envelope", "crypto"]),
    ("policy", &["name"]),
    ("keys", &["envelope", "crypto", "name"]),
    ("store", &["name"]),
    ("engine", &["policy", "keys", "object", "store", "envelope", "crypto", "name"]),
    ("fuse", &["engine", "store", "name"]),
    ("config", &["name", "object"]),
    ("cli", &["config", "fuse", "engine", "policy", "keys", "object", "store", "envelope", "crypto", "name"]),
    ("docs", &[]),
];

#[test]
fn every_room_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        for file in sources(&source_dir().join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            let forbidden =
                imported(&text).into_iter().filter(|it| it != room && !allowed.contains(&it.as_str()));
            wrong.extend(forbidden.map(|it| format!("{} imports `{it}`", file.display())));
        }
    }
    assert!(wrong.is_empty(), "against the table in docs/architecture.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table_and_in_the_document() {
    let page = include_str!("../../src/docs/architecture.md");
    let rooms = fs::read_dir(source_dir()).unwrap().map(|entry| entry.unwrap());
    for room in rooms.filter(|entry| entry.file_type().unwrap().is_dir()) {
        let room = room.file_name().into_string().unwrap();
        assert!(MAY_IMPORT.iter().any(|(known, _)| *known == room), "`{room}` is not in the table");
        assert!(
            room == "docs" || page.contains(&format!("| `{room}` |")),
            "`{room}` is not in docs/architecture.md"
        );
    }
}

#[test]
fn the_table_has_no_circle() {
    let may = |room: &str| MAY_IMPORT.iter().find(|(name, _)| *name == room).unwrap().1;
    for (room, _) in MAY_IMPORT {
        let mut reached = BTreeSet::new();
        let mut next: Vec<_> = may(room).to_vec();
        while let Some(other) = next.pop() {
            assert_ne!(other, room, "`{room}` reaches itself");
            if reached.insert(other) {
                next.extend(may(other));
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

fn source_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

fn sources(dir: &Path) -> Vec<std::path::PathBuf> {
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
