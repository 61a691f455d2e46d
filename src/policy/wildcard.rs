//! Matching text against `*` and `?` without explosive backtracking.

use std::str::Chars;

/// One symbol of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Exactly this character.
    Char(char),
    /// `*`: any number of characters, also none.
    Any,
    /// `?`: exactly one character.
    One,
}

/// Whether the whole of `text` matches `pattern`.
///
/// Only the last `*` is ever retried, so the work is at most pattern length × text length and there is no recursion.
pub(super) fn matches(pattern: &[Token], text: &str) -> bool {
    let mut rest = pattern;
    let mut chars = text.chars();
    let mut last_star: Option<(&[Token], Chars<'_>)> = None;
    loop {
        if let Some((Token::Any, after)) = rest.split_first() {
            if after.is_empty() {
                return true;
            }
            last_star = Some((after, chars.clone()));
            rest = after;
        } else if rest.is_empty() && chars.as_str().is_empty() {
            return true;
        } else if !step(&mut rest, &mut chars) {
            let Some((after, from)) = &mut last_star else { return false };
            if from.next().is_none() {
                return false;
            }
            rest = after;
            chars = from.clone();
        }
    }
}

/// Consumes one token and one character if they fit.
fn step(pattern: &mut &[Token], chars: &mut Chars<'_>) -> bool {
    let mut ahead = chars.clone();
    let (Some((token, after)), Some(c)) = (pattern.split_first(), ahead.next()) else { return false };
    let fits = match token {
        Token::Char(wanted) => *wanted == c,
        Token::One | Token::Any => true,
    };
    if fits {
        *pattern = after;
        *chars = ahead;
    }
    fits
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn tokens(pattern: &str) -> Vec<Token> {
        let token = |c| match c {
            '*' => Token::Any,
            '?' => Token::One,
            c => Token::Char(c),
        };
        pattern.chars().map(token).collect()
    }

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some('?'), Some(_)) => naive(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) => p == t && naive(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    #[test]
    fn stars_and_question_marks_mean_what_the_shell_means() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "ü", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "ac", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(&tokens(pattern), text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_stays_cheap() {
        let pattern = tokens(&format!("{}b", "*a".repeat(500)));
        let start = Instant::now();
        assert!(!matches(&pattern, &"a".repeat(1024)));
        // An exploding matcher would need longer than the universe has; a minute is no benchmark.
        assert!(start.elapsed() < Duration::from_mins(1));
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let p: Vec<char> = pattern.chars().collect();
            let t: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&tokens(&pattern), &text), naive(&p, &t));
        }
    }
}
