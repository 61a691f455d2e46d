//! One line of a `Condition` block, compiled: an operator, a key and the values wanted.
//!
//! IAM user guide, "Condition operators" and "Conditions with multiple context keys or values".

use super::{
    context::ConditionKey,
    element::Element,
    error::{Place, PolicyError},
    operator::{Operator, Order, Quantifier, Test},
    request::Request,
    statement::Effect,
    template::{Reading, Template, arn_matches},
    value::{Moment, Network, Number, base64},
};

/// `"operator": { "key": [values] }`.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) operator: Operator,
    pub(super) key: ConditionKey,
    /// The key as the policy spells it.
    pub(super) key_text: String,
    /// The values as the policy spells them.
    pub(super) wanted_text: Vec<String>,
    pub(super) place: Place,
    wanted: Vec<Wanted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Text(Template),
    Number(Order, Number),
    Moment(Order, Moment),
    Bool(bool),
    Bytes(Vec<u8>),
    Network(Network),
    /// `None` if the pattern has not the six components of an ARN: it matches nothing.
    Arn(Option<Vec<Template>>),
    /// `Null`: whether the key must be absent.
    Absent(bool),
}

impl Condition {
    /// Parses a whole `Condition` element.
    pub(super) fn parse_block(block: &Element<'_>, variables: bool) -> Result<Vec<Self>, PolicyError> {
        let mut conditions: Vec<Self> = Vec::new();
        for (name, keys) in block.members()? {
            let operator = Operator::parse(name).map_err(|problem| keys.wrong_name(problem))?;
            for (key_text, values) in keys.members()? {
                let condition = Self::parse(operator.clone(), key_text, &values, variables)?;
                if conditions.iter().any(|c| c.operator == condition.operator && c.key == condition.key) {
                    return Err(values
                        .wrong_name("the key is written twice (its case does not count): merge the values"));
                }
                conditions.push(condition);
            }
        }
        Ok(conditions)
    }

    fn parse(
        operator: Operator,
        key: &str,
        values: &Element<'_>,
        variables: bool,
    ) -> Result<Self, PolicyError> {
        if !key.contains(':') {
            return Err(values.wrong_name(format!(
                "`{}` is not a condition key: write prefix and name, such as `aws:username`",
                key.escape_debug()
            )));
        }
        let mut wanted = Vec::new();
        let mut wanted_text = Vec::new();
        for value in values.one_or_many()? {
            let text = value.scalar()?;
            wanted
                .push(Wanted::parse(operator.test, text, variables).map_err(|problem| value.wrong(problem))?);
            wanted_text.push(text.to_owned());
        }
        let place = values.place();
        Ok(Self {
            operator,
            key: ConditionKey::parse(key),
            key_text: key.to_owned(),
            wanted_text,
            place,
            wanted,
        })
    }

    /// Whether the condition is fulfilled.
    ///
    /// A negated operator holds if no wanted value matches. One whose variable has no value matches nothing; so that
    /// this never grants anything, a negated condition of an `Allow` statement does not hold then.
    pub(super) fn holds(&self, request: &Request<'_>, effect: Effect) -> bool {
        if let (Test::Date(_), Some(now)) = (self.operator.test, request.moment(&self.key)) {
            return self.wanted.iter().any(|wanted| wanted.is_met_by(now)) != self.operator.negated;
        }
        let seen = request.values(&self.key);
        let seen = seen.as_slice();
        // An empty text counts as no value for `Null` and the set operators, as the guide says.
        let empty = seen.iter().all(|value| value.is_empty());
        if self.operator.test == Test::Null {
            return self.wanted.contains(&Wanted::Absent(empty));
        }
        if seen.is_empty() {
            return self.operator.holds_when_absent();
        }
        if self.operator.negated && effect == Effect::Allow && !self.resolves(request) {
            return false;
        }
        let matches = |value: &str| self.wanted.iter().any(|w| w.matches(value, request));
        let negated = self.operator.negated;
        match self.operator.quantifier {
            Quantifier::Plain => seen.iter().any(|v| matches(v)) != negated,
            Quantifier::All => empty || seen.iter().all(|v| matches(v) != negated),
            Quantifier::Any => !empty && seen.iter().any(|v| matches(v) != negated),
        }
    }

    /// Whether the condition is fulfilled for all requests of the kind of `request`, or for none.
    pub(super) fn always_holds(&self, request: &Request<'_>, effect: Effect) -> Option<bool> {
        let constant = self.key.is_constant() && self.variables().all(ConditionKey::is_constant);
        constant.then(|| self.holds(request, effect))
    }

    /// Whether the process behind the request must be looked at, which costs more than everything else.
    pub(super) fn asks_the_process(&self) -> bool {
        self.key.is_of_the_process()
    }

    /// Whether the condition asks for one of its values (or, for `Null`, for the key to be there or not).
    pub(super) fn wants_absent(&self) -> Option<bool> {
        match self.wanted.as_slice() {
            [Wanted::Absent(absent)] => Some(*absent),
            _ => None,
        }
    }

    /// The values of an ARN operator that can never match because they have not six components.
    pub(super) fn impossible_arns(&self) -> impl Iterator<Item = &str> {
        let pairs = self.wanted.iter().zip(&self.wanted_text);
        pairs.filter_map(|(wanted, text)| (*wanted == Wanted::Arn(None)).then_some(text.as_str()))
    }

    /// The keys of all policy variables in the values.
    pub(super) fn variables(&self) -> impl Iterator<Item = &ConditionKey> {
        self.wanted.iter().flat_map(Wanted::templates).flat_map(Template::variables)
    }

    fn resolves(&self, request: &Request<'_>) -> bool {
        self.wanted.iter().flat_map(Wanted::templates).all(|template| template.resolves(request))
    }
}

impl Wanted {
    fn parse(test: Test, value: &str, variables: bool) -> Result<Self, String> {
        let refused = |what: &str| format!("`{}` is not {what}", value.escape_debug());
        let flag = || match value {
            _ if value.eq_ignore_ascii_case("true") => Ok(true),
            _ if value.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(refused("a boolean: write `true` or `false`")),
        };
        match test {
            Test::Text { wildcards, ignore_case } => {
                Template::parse(value, Reading { wildcards, variables, ignore_case }).map(Self::Text)
            }
            Test::Arn => Template::parse_arn(value, variables).map(Self::Arn),
            Test::Number(order) => {
                Number::parse(value).map(|number| Self::Number(order, number)).ok_or_else(|| {
                    refused("a number: write digits, with at most 9 after the point and no exponent")
                })
            }
            Test::Date(order) => Moment::parse(value)
                .map(|moment| Self::Moment(order, moment))
                .ok_or_else(|| refused("a date: write `2026-01-31T00:00:00Z` or seconds since 1970")),
            Test::Bool => flag().map(Self::Bool),
            Test::Null => flag().map(Self::Absent),
            Test::Binary => {
                base64(value).map(Self::Bytes).ok_or_else(|| refused("Base64: write it with its padding"))
            }
            Test::Ip => Network::parse(value)
                .map(Self::Network)
                .ok_or_else(|| refused("an IP range: write CIDR such as `203.0.113.0/24`")),
        }
    }

    fn matches(&self, seen: &str, request: &Request<'_>) -> bool {
        match self {
            Self::Text(template) => template.matches(seen, request),
            Self::Arn(components) => {
                components.as_ref().is_some_and(|wanted| arn_matches(wanted, seen, request))
            }
            Self::Number(order, wanted) => Number::parse(seen).is_some_and(|n| order.holds(&n, wanted)),
            Self::Moment(order, wanted) => Moment::parse(seen).is_some_and(|m| order.holds(&m, wanted)),
            Self::Bool(wanted) => seen.eq_ignore_ascii_case(if *wanted { "true" } else { "false" }),
            Self::Bytes(wanted) => seen.as_bytes() == wanted,
            Self::Network(wanted) => wanted.contains(seen),
            Self::Absent(wanted) => *wanted == seen.is_empty(),
        }
    }

    /// A date compared with a moment that need not be read from text.
    fn is_met_by(&self, now: Moment) -> bool {
        matches!(self, Self::Moment(order, wanted) if order.holds(&now, wanted))
    }

    fn templates(&self) -> &[Template] {
        match self {
            Self::Text(template) => std::slice::from_ref(template),
            Self::Arn(Some(components)) => components,
            _ => &[],
        }
    }
}
