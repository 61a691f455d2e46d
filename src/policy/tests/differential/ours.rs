//! Cases in the words of this room: JSON in all the forms that S3 accepts, and requests.

use serde_json::{Value, json};

use super::{
    super::*,
    case::{ACCOUNTS, Asked, Case, Condition, Kind as Compared, Listed, Statement},
};

/// What a policy says about a request.
pub(super) type Said = Option<bool>;

impl Case {
    /// The policy as JSON text.
    pub(super) fn text(&self) -> String {
        let mut statements: Vec<Value> = self.statements.iter().map(Statement::json).collect();
        let list = if statements.len() == 1 && self.version.is_none() {
            statements.remove(0)
        } else {
            statements.into()
        };
        let mut policy = json!({ "Statement": list });
        if let Some(version) = self.version {
            policy["Version"] = version.into();
        }
        policy.to_string()
    }
}

impl Statement {
    fn json(&self) -> Value {
        let not = |listed: &Listed, name: &str| {
            if listed.inverted { format!("Not{name}") } else { name.to_owned() }
        };
        let everyone = self.principals.bare && self.principals.items == ["*"] && !self.principals.inverted;
        let principal =
            if everyone { json!("*") } else { json!({ "AWS": self.principals.list(str::to_owned) }) };
        let mut blocks = serde_json::Map::new();
        for condition in &self.conditions {
            let block = blocks.entry(condition.name()).or_insert_with(|| json!({}));
            block[condition.key] = condition.json();
        }
        json!({
            "Effect": self.effect,
            not(&self.principals, "Principal"): principal,
            not(&self.actions, "Action"): self.actions.list(str::to_owned),
            not(&self.resources, "Resource"): self.resources.list(|below| format!("arn:aws:s3:::{below}")),
            "Condition": blocks,
        })
    }
}

impl Listed {
    fn list(&self, shown: impl Fn(&str) -> String) -> Value {
        match self.items.as_slice() {
            [one] if self.bare => shown(one).into(),
            items => items.iter().map(|item| shown(item)).collect(),
        }
    }
}

impl Condition {
    /// The whole name of the operator.
    pub(super) fn name(&self) -> String {
        format!("{}{}{}", self.set, self.operator.name, if self.if_exists { "IfExists" } else { "" })
    }

    fn json(&self) -> Value {
        let typed = |text: &str| match self.operator.kind {
            Compared::Number | Compared::Bool | Compared::Null if self.bare => {
                serde_json::from_str(text).unwrap()
            }
            _ => Value::from(text),
        };
        match self.values.as_slice() {
            [one] if self.bare => typed(one),
            values => values.iter().map(|value| typed(value)).collect(),
        }
    }
}

impl Asked {
    fn principal(&self) -> Principal {
        let principal = Principal::new(AccountId::parse(ACCOUNT).unwrap(), 1000, vec![], Some(self.user));
        let arn = format!("arn:aws:iam::{}:user/{}", ACCOUNTS[self.account], self.user);
        if self.account == 0 { principal } else { principal.known_as(&PrincipalArn::parse(&arn).unwrap()) }
    }

    /// What `policy` says about it: the same however often it is asked, and whatever was asked before.
    pub(super) fn decided_by(&self, policy: &PolicyDocument) -> Said {
        let (principal, bucket, object) = (self.principal(), bucket(), object(self.object));
        let action = Action::parse(self.action).unwrap();
        let context = context().encryption(self.header).kms_key(self.kms_key).secure_transport(self.secure);
        let context = self
            .others
            .iter()
            .fold(context, |context, (key, values)| context.with(key, values.iter().copied()));
        let resource = Resource::of(&bucket, action.is_about_objects().then_some(&object));
        let request = Request { principal: &principal, action, resource, context };
        // Another account needs an allowance of its own besides, for which the open mode stands.
        let mode = if self.account == 0 { Mode::Closed } else { Mode::Open };
        let policies = Policies { resource: Some(policy), identity: &[], mode };
        let said = |decision: Decision| match decision {
            Decision::Allow(_) => Some(true),
            Decision::Deny(denial) => (denial.cause == Cause::ExplicitDeny).then_some(false),
        };
        let (first, again) = (said(policies.evaluate(&request)), said(policies.evaluate(&request)));
        assert_eq!(first, again);
        assert_eq!(first, said(policies.evaluate_anew(&request)));
        first
    }

    /// The values of a condition key, by the documentation.
    pub(super) fn values(&self, key: &str) -> Vec<String> {
        let key = key.to_lowercase();
        if let Some((_, values)) = self.others.iter().find(|(name, _)| *name == key) {
            return values.iter().map(|value| (*value).to_owned()).collect();
        }
        let value = match key.as_str() {
            HEADER => self.header.map(str::to_owned),
            KMS_KEY => self.kms_key.map(str::to_owned),
            "aws:username" => Some(self.user.to_owned()),
            "aws:principalarn" => Some(format!("arn:aws:iam::{}:user/{}", ACCOUNTS[self.account], self.user)),
            "aws:userid" => Some("1000".to_owned()),
            "aws:currenttime" => Some("2026-01-01T00:00:00Z".to_owned()),
            "aws:epochtime" => Some("1767225600".to_owned()),
            "aws:securetransport" => Some(self.secure.to_string()),
            _ => None,
        };
        value.into_iter().collect()
    }
}
