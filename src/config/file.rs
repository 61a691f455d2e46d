//! Finding and reading the configuration file.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::Config;

/// The file with every option and its default.
pub const DEFAULT_TEXT: &str = include_str!("../../config/strongroom.toml");

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, an unknown option, or a value that an option cannot have.
    #[error("configuration `{path}`, line {line}, column {column}: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What is wrong, in one line.
        problem: String,
    },
}

/// The configuration: of `named`, else of the file found in its usual places, else the defaults.
pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = named.map(Path::to_owned).or_else(|| find(|name| std::env::var_os(name))) else {
        return Ok(Config::default());
    };
    let text =
        fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    parse(&path, &text)
}

/// The first usual place that has a file; `env` gives environment variables.
pub fn find(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let places = user.into_iter().chain([PathBuf::from("/etc")]);
    places.map(|place| place.join("strongroom/strongroom.toml")).find(|file| file.exists())
}

/// Parses the text of a configuration; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = place(text, error.span().map_or(0, |span| span.start));
        let problem = error.message().replace('\n', ", ");
        ConfigError::Parse { path: path.to_owned(), line, column, problem }
    })
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("f.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_file_says_exactly_the_defaults_and_names_every_option() {
        let shipped = parse(Path::new("shipped"), DEFAULT_TEXT).unwrap();
        assert_eq!(shipped, Config::default());
        let written: toml::Table = DEFAULT_TEXT.parse().unwrap();
        let all = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(
            written, all,
            "an option is missing from config/strongroom.toml, or has another default there"
        );
    }

    #[test]
    fn every_option_of_the_shipped_file_has_a_comment_line_above_it() {
        let lines: Vec<_> = DEFAULT_TEXT.lines().collect();
        let bare = lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#'));
        for pair in bare {
            assert!(pair[0].starts_with("# "), "no comment above `{}`", pair[1]);
        }
    }

    #[test]
    fn an_empty_file_means_the_defaults_and_a_part_changes_only_itself() {
        assert_eq!(parse(Path::new("f"), "").unwrap(), Config::default());
        let config = parse(Path::new("f"), "[mount]\nthreads = \"4\"\n").unwrap();
        assert_eq!(config.mount.threads, super::super::Threads::Exactly(4));
        assert_eq!(parse(Path::new("f"), "[mount]\nthreads = 4\n").unwrap(), config);
        assert_eq!(config.memory, Config::default().memory);
    }

    #[test]
    fn a_refusal_names_file_line_column_and_the_option() {
        let text = "[mount]\nread_only = false\nreadonly = true\n";
        let message = refusal(text);
        assert!(
            message.starts_with("configuration `f.toml`, line 3, column 1: unknown field `readonly`"),
            "{message}"
        );
        for (text, expected) in [
            ("[memory]\ndirty_total = \"4MB\"", "line 2, column 15: `4MB` is not a size"),
            ("[bucket]\nblock_size = \"12KiB\"", "line 2, column 14: `12KiB` is not a block size"),
            ("[mount]\nidle_timeout = \"0s\"", "line 2, column 16: `0s` is no useful timeout"),
            ("[mount]\nthreads = \"0\"", "`0` is not a number of threads"),
            ("[mount]\nthreads = 65", "`65` is not a number of threads"),
            ("[mount]\nthreads = true", "expected `auto`, or 1 to 64"),
            ("[mount]\ninode_cache = 999", "`inode_cache` is too small: write 1000 or more"),
            ("[policy]\naccount = \"12\"", "`12` is not an account id"),
            ("[policy]\nregion = \"EU\"", "line 2, column 10: "),
            ("[log]\nlevel = \"loud\"", "unknown variant `loud`"),
            ("[secrets]\n", "unknown field `secrets`"),
            ("[mount\n", "line 1, column "),
        ] {
            let message = refusal(text);
            assert!(message.contains(expected) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn the_examples_of_the_shipped_file_are_settings_of_providers() {
        let start = DEFAULT_TEXT.find("# [provider.").unwrap();
        let is_example = |line: &&str| line.contains(" = ") || line.starts_with("[provider.");
        let lines = DEFAULT_TEXT[start..].lines().map(|line| line.trim_start_matches("# "));
        // A line of prose that quotes a setting begins with a capital letter.
        let lines = lines.filter(is_example).filter(|line| !line.starts_with(|c: char| c.is_uppercase()));
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = parse(Path::new("examples"), &text).unwrap();
        let kinds: Vec<_> = config.provider.values().map(crate::keys::ProviderSettings::kind).collect();
        assert_eq!(kinds, ["aws-kms", "transit", "pkcs11"]);
        let written: toml::Table = text.parse().unwrap();
        let back = toml::Table::try_from(&config).unwrap();
        for (name, settings) in written["provider"].as_table().unwrap() {
            for (key, value) in settings.as_table().unwrap() {
                assert_eq!(back["provider"][name].get(key), Some(value), "{name}.{key}");
            }
        }
    }

    #[test]
    fn a_provider_needs_its_settings_and_takes_no_others() {
        for (text, expected) in [
            ("[provider.a]\nregion = \"r\"", "missing field `kind`"),
            ("[provider.a]\nkind = \"kms\"", "unknown variant `kms`"),
            ("[provider.a]\nkind = \"aws-kms\"", "missing field `region`"),
            ("[provider.a]\nkind = \"aws-kms\"\nregion = \"r\"\npin = 1", "unknown field `pin`"),
            ("[provider.a]\nkind = \"aws-kms\"\nregion = \"r\"\ntimeout = \"0s\"", "no useful wait"),
        ] {
            let message = refusal(text);
            assert!(message.contains(expected) && message.contains(", line "), "{message}");
        }
    }

    #[test]
    fn the_users_file_goes_before_the_systems() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".config/strongroom/strongroom.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let only_home = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
        assert_eq!(find(only_home), Some(file.clone()));
        let xdg =
            |name: &str| (name == "XDG_CONFIG_HOME").then(|| home.path().join(".config").into_os_string());
        assert_eq!(find(xdg), Some(file));
    }

    #[test]
    fn a_named_file_must_exist() {
        let message = load(Some(Path::new("/nowhere/f.toml"))).unwrap_err().to_string();
        assert!(message.starts_with("cannot read the configuration `/nowhere/f.toml`: "), "{message}");
    }
}
