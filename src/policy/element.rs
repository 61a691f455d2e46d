//! A JSON value together with its path, so that every complaint about it can name its place.

use super::{
    error::{Place, PolicyError},
    json::{Node, Value},
};

/// One element of a policy text while it is being parsed.
#[derive(Debug, Clone)]
pub(super) struct Element<'t> {
    text: &'t str,
    node: &'t Node,
    key_at: usize,
    path: String,
}

impl<'t> Element<'t> {
    /// The outermost element.
    pub(super) fn root(text: &'t str, node: &'t Node) -> Self {
        Self { text, node, key_at: node.at, path: String::new() }
    }

    /// Where the value stands.
    pub(super) fn place(&self) -> Place {
        Place::of(self.text, self.node.at, &self.path)
    }

    /// A complaint about the value.
    pub(super) fn wrong(&self, problem: impl Into<String>) -> PolicyError {
        PolicyError::Element { place: self.place(), problem: problem.into() }
    }

    /// A complaint about the name under which the value stands.
    pub(super) fn wrong_name(&self, problem: impl Into<String>) -> PolicyError {
        PolicyError::Element { place: Place::of(self.text, self.key_at, &self.path), problem: problem.into() }
    }

    /// The members of an object, with their names.
    pub(super) fn members(&self) -> Result<Vec<(&'t str, Self)>, PolicyError> {
        let Value::Object(members) = &self.node.value else {
            return Err(self.wrong("an object in `{` and `}` must stand here"));
        };
        let dot = if self.path.is_empty() { "" } else { "." };
        Ok(members
            .iter()
            .map(|m| {
                let path = format!("{}{dot}{}", self.path, m.key);
                (m.key.as_str(), Self { text: self.text, node: &m.value, key_at: m.at, path })
            })
            .collect())
    }

    /// The items of a non-empty array, or the value itself as the only one.
    pub(super) fn one_or_many(&self) -> Result<Vec<Self>, PolicyError> {
        let Value::Array(items) = &self.node.value else {
            return Ok(vec![self.clone()]);
        };
        if items.is_empty() {
            return Err(self.wrong("the list is empty: name at least one value, or leave the element out"));
        }
        let item = |(i, node): (usize, &'t Node)| Self {
            text: self.text,
            node,
            key_at: node.at,
            path: format!("{}[{i}]", self.path),
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// A string.
    pub(super) fn string(&self) -> Result<&'t str, PolicyError> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong("a string in double quotes must stand here")),
        }
    }

    /// A condition value: a string, a number or a bare boolean.
    pub(super) fn scalar(&self) -> Result<&'t str, PolicyError> {
        match &self.node.value {
            Value::Text(text) | Value::Number(text) => Ok(text),
            Value::Bool(true) => Ok("true"),
            Value::Bool(false) => Ok("false"),
            _ => Err(self.wrong("a condition value is a string, a number, true or false")),
        }
    }

    /// Whether the value is an object.
    pub(super) fn is_object(&self) -> bool {
        matches!(self.node.value, Value::Object(_))
    }
}
