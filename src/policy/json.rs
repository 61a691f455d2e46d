//! A strict JSON reader that keeps positions, because an error in a policy must name its place.
//!
//! May assume that the caller has bounded the text. Refuses duplicate keys and deep nesting; never panics and
//! never recurses deeper than `MAX_DEPTH`, whatever the text is.

use super::error::{Place, PolicyError};

/// One JSON value and the byte offset at which it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A JSON value; numbers keep their spelling.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// One `"key": value` of an object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) at: usize,
    pub(super) value: Node,
}

/// Reads the whole of `text` as one JSON value.
pub(super) fn read(text: &str) -> Result<Node, PolicyError> {
    let mut reader = Reader { text, at: 0, path: Vec::new() };
    reader.document().map_err(|problem| PolicyError::Json {
        place: Place::of(text, reader.at, &reader.path.concat()),
        problem,
    })
}

/// Deepest nesting; the policy language needs six levels.
const MAX_DEPTH: usize = 16;

/// Reads forward only. On an error `at` and `path` stay where the trouble is.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    path: Vec<String>,
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn document(&mut self) -> Read<Node> {
        let node = self.node(0)?;
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.unexpected("the end of the text"));
        }
        Ok(node)
    }

    fn node(&mut self, depth: usize) -> Read<Node> {
        self.skip_space();
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels: no policy element is that deep"));
        }
        let at = self.at;
        let value = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.array(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn object(&mut self, depth: usize) -> Read<Value> {
        let mut members: Vec<Member> = Vec::new();
        self.expect('{')?;
        while !self.closes('}', members.is_empty())? {
            let member = self.member(&members, depth)?;
            members.push(member);
        }
        Ok(Value::Object(members))
    }

    fn member(&mut self, earlier: &[Member], depth: usize) -> Read<Member> {
        self.skip_space();
        let at = self.at;
        let key = self.string()?;
        if earlier.iter().any(|member| member.key == key) {
            self.at = at;
            return Err(format!("`{}` is written twice: keep one", key.escape_debug()));
        }
        self.path.push(if self.path.is_empty() { key.clone() } else { format!(".{key}") });
        self.skip_space();
        self.expect(':')?;
        let value = self.node(depth + 1)?;
        self.path.pop();
        Ok(Member { key, at, value })
    }

    fn array(&mut self, depth: usize) -> Read<Value> {
        let mut items = Vec::new();
        self.expect('[')?;
        while !self.closes(']', items.is_empty())? {
            self.path.push(format!("[{}]", items.len()));
            items.push(self.node(depth + 1)?);
            self.path.pop();
        }
        Ok(Value::Array(items))
    }

    /// Steps over the closing bracket, or over the comma before the next item.
    fn closes(&mut self, bracket: char, first: bool) -> Read<bool> {
        self.skip_space();
        if self.peek() == Some(bracket) {
            self.at += 1;
            return Ok(true);
        }
        if !first {
            self.expect(',')?;
        }
        Ok(false)
    }

    fn string(&mut self) -> Read<String> {
        let mut out = String::new();
        if self.peek() != Some('"') {
            return Err(self.unexpected("a string in double quotes"));
        }
        self.at += 1;
        loop {
            match self.peek() {
                Some('"') => break,
                Some('\\') => out.push(self.escape()?),
                Some(c) if c >= ' ' => {
                    self.at += c.len_utf8();
                    out.push(c);
                }
                _ => return Err(self.unexpected("the closing `\"` of the string")),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn escape(&mut self) -> Read<char> {
        let start = self.at;
        self.at += 1;
        let decoded = match self.next() {
            Some('u') => self.unicode_escape(),
            Some(c) => SIMPLE_ESCAPES.iter().find(|(from, _)| *from == c).map(|(_, to)| *to),
            None => None,
        };
        decoded.ok_or_else(|| {
            self.at = start;
            "not a JSON escape: write `\\\\` for a backslash, `\\\"` for a quote, or `\\u` and four hex digits".to_owned()
        })
    }

    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if self.next()? != '\\' || self.next()? != 'u' {
            return None;
        }
        let low = self.hex4().filter(|low| (0xdc00..0xe000).contains(low))?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00))
    }

    fn hex4(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |value, _| Some(value * 16 + self.next()?.to_digit(16)?))
    }

    fn number(&mut self) -> Read<Value> {
        let rest = self.rest();
        let len =
            rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let spelling = rest.get(..len).unwrap_or(rest);
        // serde_json is the judge of the number grammar, so that both readers agree.
        if serde_json::from_str::<serde_json::Number>(spelling).is_err() {
            return Err(format!("`{spelling}` is not a JSON number"));
        }
        let value = Value::Number(spelling.to_owned());
        self.at += len;
        Ok(value)
    }

    fn word(&mut self) -> Read<Value> {
        for (word, value) in
            [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)]
        {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("a JSON value"))
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, wanted: char) -> Read<()> {
        if self.peek() != Some(wanted) {
            return Err(self.unexpected(&format!("`{wanted}`")));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.peek() {
            Some(c) => format!("found `{}` where {wanted} should stand", c.escape_debug()),
            None => format!("the text ends where {wanted} should stand"),
        }
    }
}

const SIMPLE_ESCAPES: [(char, char); 8] = [
    ('"', '"'),
    ('\\', '\\'),
    ('/', '/'),
    ('b', '\u{8}'),
    ('f', '\u{c}'),
    ('n', '\n'),
    ('r', '\r'),
    ('t', '\t'),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => serde_json::from_str(n).unwrap(),
            Value::Text(t) => t.as_str().into(),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(members) => {
                serde_json::Value::Object(members.iter().map(|m| (m.key.clone(), plain(&m.value))).collect())
            }
        }
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn escapes_are_decoded_as_json_says() {
        let node = read(r#""a\u0041\ud83d\ude00\n\"\/\\""#).unwrap();
        assert!(matches!(node.value, Value::Text(t) if t == "aA😀\n\"/\\"));
    }

    #[test]
    fn refusals_name_line_column_and_path() {
        let text = "{\n  \"Statement\": [\n    {\"Sid\": tru}\n  ]\n}";
        assert_eq!(
            refusal(text),
            "line 3, column 13, Statement[0].Sid: found `t` where a JSON value should stand"
        );
        assert_eq!(refusal("{\"ü\": 1, \"ü\": 2}"), "line 1, column 10: `ü` is written twice: keep one");
        assert!(refusal("{}x").starts_with("line 1, column 3: found `x`"));
        assert!(refusal("[1,]").starts_with("line 1, column 4, [1]: found `]`"));
    }

    #[test]
    fn what_json_forbids_is_refused() {
        for bad in [
            "",
            "{",
            "[",
            "\"",
            "\"\u{1}\"",
            r#""\x""#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            "01",
            "1.",
            "-",
            "'a'",
            "{a:1}",
            "\u{feff}{}",
            "nul",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_deep_recursion() {
        assert!(refusal(&"[".repeat(20_000)).contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn every_text_is_read_as_serde_json_reads_it(text in r#"[\[\]{}:,"\\u0-9a-f\-+.eEtrulsn \n]{0,24}"#) {
            match (read(&text), serde_json::from_str::<serde_json::Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(plain(&ours), theirs),
                (Ok(_), Err(_)) => prop_assert!(false, "only we accept {:?}", text),
                (Err(e), Ok(_)) => prop_assert!(e.to_string().contains("twice") || e.to_string().contains("deeper")),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = read(&text);
        }
    }
}
