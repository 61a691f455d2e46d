//! A finished text with wildcards: its plain beginning, which most texts differ in, and the rest.

use super::wildcard::{self, Token};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    beginning: String,
    rest: Vec<Token>,
}

impl Pattern {
    pub(super) fn new(tokens: &[Token]) -> Self {
        let plain = tokens.iter().map_while(|t| if let Token::Char(c) = t { Some(*c) } else { None });
        let beginning: String = plain.collect();
        let rest = tokens.iter().skip(beginning.chars().count()).copied().collect();
        Self { beginning, rest }
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        text.strip_prefix(self.beginning.as_str()).is_some_and(|text| wildcard::matches(&self.rest, text))
    }

    /// Whether every text matches.
    pub(super) fn matches_everything(&self) -> bool {
        self.beginning.is_empty() && self.rest == [Token::Any]
    }

    /// Whether this matches whatever `other` matches, as far as their beginnings tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || self.rest == [Token::Any] && other.beginning.starts_with(&self.beginning)
    }

    /// Whether every text matches that consists of `start` and something more without a `/`, or none does; `None` where
    /// that depends on the rest.
    pub(super) fn matches_in(&self, start: &str) -> Option<bool> {
        if start.starts_with(self.beginning.as_str()) {
            return match self.rest.as_slice() {
                [Token::Any] => Some(true),
                [] => Some(false),
                _ => None,
            };
        }
        match self.beginning.strip_prefix(start) {
            Some(more) if !more.contains('/') => None,
            _ => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let token = |c| match c {
            '*' => Token::Any,
            '?' => Token::One,
            c => Token::Char(c),
        };
        Pattern::new(&text.chars().map(token).collect::<Vec<_>>())
    }

    #[test]
    fn what_holds_for_a_whole_directory_is_told_and_nothing_else() {
        for (text, start, told) in [
            ("*", "", Some(true)),
            ("a/*", "a/", Some(true)),
            ("a/*", "a/b/", Some(true)),
            ("a*", "a/", Some(true)),
            ("a/*", "", Some(false)),
            ("a/*", "b/", Some(false)),
            ("a/b*", "a/", None),
            ("a/b", "a/", None),
            ("a/b", "a/b/", Some(false)),
            ("a/", "a/", Some(false)),
            ("a/?/*", "a/", None),
            ("*/secret/*", "", None),
        ] {
            assert_eq!(pattern(text).matches_in(start), told, "{text} in `{start}`");
        }
    }

    proptest! {
        #[test]
        fn what_is_covered_is_matched(text in "[ab*?]{0,4}", other in "[ab*?]{0,6}", seen in "[ab]{0,6}") {
            let (pattern, other) = (pattern(&text), pattern(&other));
            if pattern.covers(&other) && other.matches(&seen) {
                prop_assert!(pattern.matches(&seen));
            }
        }

        #[test]
        fn what_is_told_of_a_directory_is_true_of_everything_in_it(
            text in "[ab/*?]{0,6}", start in "([ab]{1,2}/){0,2}", name in "[ab*?]{1,3}",
        ) {
            let pattern = pattern(&text);
            if let Some(told) = pattern.matches_in(&start) {
                prop_assert_eq!(pattern.matches(&format!("{start}{name}")), told);
            }
        }
    }
}
