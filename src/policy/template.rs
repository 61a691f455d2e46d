//! Text of a policy that may hold wildcards and policy variables, compiled once and filled per request.
//!
//! IAM user guide, "IAM policy elements: Variables and tags". A filled-in value is always literal: a `*` in a user
//! name matches a `*` only. A variable that the request does not resolve makes the text match nothing.

use std::borrow::Cow;

use super::{context::ConditionKey, pattern::Pattern, request::Request, ternary::all, wildcard::Token};

/// How the text of a template is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Whether `*` and `?` are wildcards.
    pub(super) wildcards: bool,
    /// Whether `${…}` is a variable (policy version 2012-10-17).
    pub(super) variables: bool,
    /// Whether letters match in either case.
    pub(super) ignore_case: bool,
}

/// Compiled text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    text: Text,
    ignore_case: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    /// There is no variable to fill.
    Finished(Pattern),
    Open(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Token(Token),
    Variable { key: ConditionKey, default: Option<String> },
}

impl Template {
    /// Compiles `text`. An error says what is wrong with a variable.
    pub(super) fn parse(text: &str, reading: Reading) -> Result<Self, String> {
        Ok(Self::of(&pieces(text, reading)?, reading.ignore_case))
    }

    /// Compiles the pattern `text` of an ARN, cut at its first five literal `:` into its six components; `None` if it has
    /// fewer.
    pub(super) fn parse_arn(text: &str, variables: bool) -> Result<Option<Vec<Self>>, String> {
        let pieces = pieces(text, Reading { wildcards: true, variables, ignore_case: false })?;
        let colon = Piece::Token(Token::Char(':'));
        let components: Vec<Self> =
            pieces.splitn(6, |piece| *piece == colon).map(|part| Self::of(part, false)).collect();
        Ok((components.len() == 6).then_some(components))
    }

    /// Whether it matches every text.
    pub(super) fn matches_everything(&self) -> bool {
        matches!(&self.text, Text::Finished(pattern) if pattern.matches_everything())
    }

    /// Whether this matches whatever `other` matches, as far as their beginnings tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Text::Finished(mine), Text::Finished(others)) => {
                self.ignore_case == other.ignore_case && mine.covers(others)
            }
            _ => self == other || self.matches_everything(),
        }
    }

    /// Whether `text` matches once the variables are filled from `request`.
    pub(super) fn matches(&self, text: &str, request: &Request<'_>) -> bool {
        let text = if self.ignore_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
        match &self.text {
            Text::Finished(pattern) => pattern.matches(&text),
            Text::Open(pieces) => self.filled(pieces, request).is_some_and(|pattern| pattern.matches(&text)),
        }
    }

    /// Whether `text` matches for all requests of the kind of `request`.
    pub(super) fn always_matches(&self, text: &str, request: &Request<'_>) -> Option<bool> {
        self.is_constant().then(|| self.matches(text, request))
    }

    /// Whether everything that is called `start` and more, without another `/`, matches for all requests of the kind of
    /// `request`, or nothing does.
    pub(super) fn always_matches_in(&self, start: &str, request: &Request<'_>) -> Option<bool> {
        match &self.text {
            Text::Finished(pattern) => pattern.matches_in(start),
            Text::Open(_) if !self.is_constant() => None,
            Text::Open(pieces) => {
                self.filled(pieces, request).map_or(Some(false), |pattern| pattern.matches_in(start))
            }
        }
    }

    /// Whether every variable has a value in `request`.
    pub(super) fn resolves(&self, request: &Request<'_>) -> bool {
        match &self.text {
            Text::Finished(_) => true,
            Text::Open(pieces) => self.filled(pieces, request).is_some(),
        }
    }

    /// Whether all requests of one kind fill it alike.
    pub(super) fn is_constant(&self) -> bool {
        self.variables().all(ConditionKey::is_constant)
    }

    /// The keys of all variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &ConditionKey> {
        let pieces = match &self.text {
            Text::Finished(_) => &[],
            Text::Open(pieces) => pieces.as_slice(),
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Token(_) => None,
            Piece::Variable { key, .. } => Some(key),
        })
    }

    fn of(pieces: &[Piece], ignore_case: bool) -> Self {
        let token = |piece: &Piece| match piece {
            Piece::Token(token) => Some(*token),
            Piece::Variable { .. } => None,
        };
        let text = match pieces.iter().map(token).collect::<Option<Vec<_>>>() {
            Some(tokens) => Text::Finished(Pattern::new(&folded(tokens, ignore_case))),
            None => Text::Open(pieces.to_vec()),
        };
        Self { text, ignore_case }
    }

    /// The pattern with its variables filled; `None` if one has no value.
    fn filled(&self, pieces: &[Piece], request: &Request<'_>) -> Option<Pattern> {
        let mut tokens = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Token(token) => tokens.push(*token),
                Piece::Variable { key, default } => {
                    let seen = request.values(key);
                    let value = seen.only().or(default.as_deref())?;
                    tokens.extend(value.chars().map(Token::Char));
                }
            }
        }
        Some(Pattern::new(&folded(tokens, self.ignore_case)))
    }
}

/// Whether `seen` is an ARN that matches. Each of the six components is matched by itself, so no wildcard crosses one of
/// the first five `:`.
pub(super) fn arn_matches(wanted: &[Template], seen: &str, request: &Request<'_>) -> bool {
    let mut seen = seen.splitn(6, ':');
    wanted.iter().all(|w| seen.next().is_some_and(|s| w.matches(s, request))) && seen.next().is_none()
}

/// Whether every ARN that is `start` and more, without another `/`, matches for all requests of the kind of `request`, or
/// none does. `start` goes beyond the fifth `:`.
pub(super) fn arn_always_matches_in(wanted: &[Template], start: &str, request: &Request<'_>) -> Option<bool> {
    let components = wanted.iter().zip(start.splitn(6, ':')).enumerate();
    all(components.map(|(at, (wanted, seen))| match at {
        5 => wanted.always_matches_in(seen, request),
        _ => wanted.always_matches(seen, request),
    }))
}

fn pieces(text: &str, reading: Reading) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if reading.variables && rest.starts_with("${") {
            let (piece, after) = variable(rest)?;
            pieces.push(piece);
            rest = after;
        } else {
            pieces.push(Piece::Token(plain(c, reading.wildcards)));
            rest = rest.get(c.len_utf8()..).unwrap_or("");
        }
    }
    Ok(pieces)
}

fn plain(c: char, wildcards: bool) -> Token {
    match c {
        '*' if wildcards => Token::Any,
        '?' if wildcards => Token::One,
        c => Token::Char(c),
    }
}

fn folded(tokens: Vec<Token>, ignore_case: bool) -> Vec<Token> {
    if !ignore_case {
        return tokens;
    }
    // Folded as one string, as the other side is: lower case can depend on the neighbours (final sigma). Folding is
    // for `StringEqualsIgnoreCase`, which has no wildcards.
    let text: String =
        tokens.iter().filter_map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect();
    text.to_lowercase().chars().map(Token::Char).collect()
}

/// Reads one `${…}` from the front of `text`.
fn variable(text: &str) -> Result<(Piece, &str), String> {
    let unclosed =
        || "`${` opens a variable that no `}` closes: close it, or write `${$}` for a dollar sign".to_owned();
    let inner = text.get(2..).unwrap_or("");
    for literal in ['*', '?', '$'] {
        if let Some(after) = inner.strip_prefix(literal).and_then(|rest| rest.strip_prefix('}')) {
            return Ok((Piece::Token(Token::Char(literal)), after));
        }
    }
    let end = closing_brace(inner).ok_or_else(unclosed)?;
    let (body, after) = inner.split_at_checked(end).ok_or_else(unclosed)?;
    let (name, default) = match body.split_once(',') {
        Some((name, default)) => (name, Some(quoted(default.trim())?)),
        None => (body, None),
    };
    let name = name.trim();
    if !name.contains(':') || name.starts_with(':') {
        return Err(format!(
            "`${{{}}}` is not a policy variable: write `${{prefix:name}}` such as `${{aws:username}}`",
            name.escape_debug()
        ));
    }
    let key = ConditionKey::parse(name);
    Ok((Piece::Variable { key, default }, after.get(1..).unwrap_or("")))
}

/// Where the `}` is that closes the variable; one inside the quoted default does not.
fn closing_brace(inner: &str) -> Option<usize> {
    let mut in_quotes = false;
    inner.char_indices().find_map(|(at, c)| {
        in_quotes ^= c == '\'';
        (c == '}' && !in_quotes).then_some(at)
    })
}

fn quoted(default: &str) -> Result<String, String> {
    default.strip_prefix('\'').and_then(|d| d.strip_suffix('\'')).map(str::to_owned).ok_or_else(|| {
        format!(
            "the default `{}` of the variable must stand in single quotes: `${{key, 'text'}}`",
            default.escape_debug()
        )
    })
}
