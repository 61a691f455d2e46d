//! Cases in the words of `iam-rs`, put so that what it does is what AWS documents: each row of the table in [`super`] is
//! a step here. A condition has a key of its own, so that its values can be put for it alone.

use std::str::FromStr;

use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, Principal, PrincipalId};
use serde_json::{Value, json};

use super::{
    case::{ACCOUNTS, Asked, Case, Condition, Kind, Statement},
    ours::Said,
};

impl Asked {
    /// What `iam-rs` says about it under `case`.
    pub(super) fn decided_by_iam_rs(&self, case: &Case) -> Said {
        let mut context = Context::new();
        for key in ["aws:username", "test:text"] {
            if let [only] = self.values(key).as_slice() {
                context.insert(key.to_owned(), ContextValue::String(only.clone()));
            }
        }
        let statements = case.statements.iter().enumerate().map(|(at, statement)| {
            let put = Put { case, statement, asked: self };
            put.statement(at, &mut context)
        });
        let policy = json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() });
        let text = policy.to_string();
        let policy: IAMPolicy = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let arn = format!("arn:aws:iam::{}:user/{}", ACCOUNTS[self.account], self.user);
        let principal = Principal::Aws(PrincipalId::String(arn));
        let resource = match self.action {
            "s3:ListBucket" => "arn:aws:s3:::docs".to_owned(),
            _ => format!("arn:aws:s3:::docs/{}", self.object),
        };
        let resource = Arn::from_str(&resource).unwrap();
        let request = IAMRequest::new_with_context(principal, self.action, resource, context);
        match iam_rs::evaluate_policy(&policy, &request).unwrap_or_else(|e| panic!("{e:?}\n{text}")) {
            Decision::Allow => Some(true),
            Decision::Deny => Some(false),
            Decision::NotApplicable => None,
        }
    }
}

/// A statement that is put for one request.
struct Put<'a> {
    case: &'a Case,
    statement: &'a Statement,
    asked: &'a Asked,
}

/// A condition as it can be told.
enum Told {
    True,
    False,
    As { operator: String, values: Value, seen: Option<ContextValue> },
}

const NOTHING: &str = "\u{7f}";

impl Put<'_> {
    fn statement(&self, at: usize, context: &mut Context) -> Value {
        let statement = self.statement;
        let not = |inverted: bool, name: &str| if inverted { format!("Not{name}") } else { name.to_owned() };
        let mut blocks = serde_json::Map::new();
        let mut applies =
            !(statement.effect == "Allow" && statement.resources.inverted && self.lacks_a_value());
        for (number, condition) in statement.conditions.iter().enumerate() {
            match self.condition(condition) {
                Told::True => {}
                Told::False => applies = false,
                Told::As { operator, values, seen } => {
                    let key = format!("c:{at}-{number}");
                    context.data.extend(seen.map(|seen| (key.clone(), seen)));
                    blocks.entry(operator).or_insert_with(|| json!({}))[key] = values;
                }
            }
        }
        // One that does not apply is about an action that nobody asks for.
        let (action, actions) = if applies {
            (not(statement.actions.inverted, "Action"), json!(statement.actions.items))
        } else {
            ("Action".to_owned(), json!(["s3:PutBucketWebsite"]))
        };
        let mut put = json!({
            "Effect": statement.effect,
            not(statement.principals.inverted, "Principal"): { "AWS": self.principals() },
            action: actions,
            not(statement.resources.inverted, "Resource"): self.resources(),
        });
        if !blocks.is_empty() {
            put["Condition"] = blocks.into();
        }
        put
    }

    /// An account stands for its users.
    fn principals(&self) -> Value {
        let users = |account: &str| {
            ["ann", "bob", "cat"].map(|user| format!("arn:aws:iam::{account}:user/{user}")).to_vec()
        };
        let items = self.statement.principals.items.iter().flat_map(|item| {
            match item.split(':').collect::<Vec<_>>()[..] {
                [account] if account != "*" => users(account),
                [.., account, "root"] => users(account),
                _ => vec![(*item).to_owned()],
            }
        });
        let items: Vec<_> = items.collect();
        if items.iter().any(|item| item == "*") { json!("*") } else { items.into() }
    }

    fn resources(&self) -> Vec<String> {
        let put = |below: &&str| {
            let variable = below.contains("${");
            if variable && (!self.case.has_variables() || self.filled(below).is_none()) {
                return "arn:aws:s3:::none".to_owned();
            }
            format!("arn:aws:s3:::{below}")
        };
        self.statement.resources.items.iter().map(put).collect()
    }

    /// Whether a variable that decides about the resource has none.
    fn lacks_a_value(&self) -> bool {
        let about_object = self.asked.action != "s3:ListBucket";
        let unfilled = |below: &&str| below.contains("${") && self.filled(below).is_none();
        about_object && self.case.has_variables() && self.statement.resources.items.iter().any(unfilled)
    }

    /// The text with its variables filled; `None` if one has no value.
    fn filled(&self, text: &str) -> Option<String> {
        let Some((before, rest)) = text.split_once("${") else { return Some(text.to_owned()) };
        let (inner, after) = rest.split_once('}').unwrap();
        let (key, default) = match inner.split_once(", '") {
            Some((key, default)) => (key, Some(default.trim_end_matches('\'').to_owned())),
            None => (inner, None),
        };
        let value = match self.asked.values(key).as_slice() {
            [only] => Some(only.clone()),
            _ => default,
        };
        Some(format!("{before}{}{}", value?, self.filled(after)?))
    }

    fn condition(&self, condition: &Condition) -> Told {
        let seen = self.asked.values(condition.key);
        let empty = seen.iter().all(String::is_empty);
        let Condition { operator, if_exists, .. } = *condition;
        let (all, any) = (condition.set == "ForAllValues:", condition.set == "ForAnyValue:");
        if operator.kind == Kind::Null {
            let seen = (!empty).then(|| ContextValue::String("x".to_owned()));
            return Told::As { operator: "Null".to_owned(), values: json!(condition.values[0]), seen };
        }
        if seen.is_empty() && (all || any) {
            return if if_exists || all { Told::True } else { Told::False };
        }
        let variables = operator.kind == Kind::Text && self.case.has_variables();
        let values: Vec<_> = condition
            .values
            .iter()
            .map(|v| if variables { self.filled(v) } else { Some((*v).to_owned()) })
            .collect();
        if !seen.is_empty() && operator.negated && self.statement.effect == "Allow" && values.contains(&None)
        {
            return Told::False;
        }
        if empty && !seen.is_empty() && (all || any) {
            return if all { Told::True } else { Told::False };
        }
        let wanted: Vec<_> =
            values.into_iter().map(|value| value.unwrap_or_else(|| NOTHING.to_owned())).collect();
        compared(condition, &seen, &wanted)
    }
}

fn compared(condition: &Condition, seen: &[String], wanted: &[String]) -> Told {
    let Condition { operator, .. } = *condition;
    let name = match operator.name {
        "ArnEquals" => "ArnLike",
        "ArnNotEquals" => "ArnNotLike",
        name => name,
    };
    let has_sets = matches!(operator.kind, Kind::Text | Kind::Arn | Kind::Bool);
    let set = match condition.set {
        // Of a key with several values, a negated operator without `For...:` wants that none matches.
        "" if operator.negated && seen.len() > 1 => "ForAllValues:",
        set if has_sets => set,
        // There is one value.
        _ => "",
    };
    let name = if condition.if_exists && set.is_empty() {
        format!("{name}IfExists")
    } else {
        format!("{set}{name}")
    };
    let flag = |text: &String| text == "true";
    let values = match operator.kind {
        Kind::Bool if !set.is_empty() => match wanted.iter().map(flag).collect::<Vec<_>>()[..] {
            [one] => json!(one),
            // Lists of booleans cannot be written: of two different ones every value matches.
            ref many if many.iter().all(|it| *it == many[0]) => json!(many[0]),
            _ => return Told::True,
        },
        _ => json!(wanted),
    };
    let typed = |seen: &[String]| match (operator.kind, seen) {
        (_, []) => None,
        (Kind::Bool, [one]) => Some(ContextValue::Boolean(flag(one))),
        (Kind::Bool, many) => Some(ContextValue::BooleanList(many.iter().map(flag).collect())),
        (Kind::Binary, [one]) => Some(ContextValue::String(base64(one))),
        (_, [one]) => Some(ContextValue::String(one.clone())),
        (_, many) => Some(ContextValue::StringList(many.to_vec())),
    };
    Told::As { operator: name, values, seen: typed(seen) }
}

fn base64(text: &str) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(text.as_bytes())
}
