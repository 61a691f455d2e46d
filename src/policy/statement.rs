//! One statement of a policy: about whom, what and where it speaks, and under which conditions.

use super::{
    action::ActionSet,
    condition::Condition,
    element::Element,
    error::{Place, PolicyError},
    principal::PrincipalSet,
    request::Request,
    resource::ResourceSet,
};
use crate::name::BucketName;

/// What a statement does to the requests it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) principals: PrincipalSet,
    pub(super) actions: ActionSet,
    pub(super) resources: ResourceSet,
    pub(super) conditions: Vec<Condition>,
    pub(super) place: Place,
}

impl Statement {
    /// Parses one statement of the policy of `bucket`; `variables` says whether its version has policy variables.
    pub(super) fn parse(
        element: &Element<'_>,
        bucket: &BucketName,
        variables: bool,
    ) -> Result<Self, PolicyError> {
        let parts = Parts::collect(element)?;
        let (actions, inverted) = parts.one_of("Action", "NotAction")?;
        let actions = ActionSet::parse(&actions, inverted)?;
        let (principals, inverted) = parts.one_of("Principal", "NotPrincipal")?;
        let principals = PrincipalSet::parse(&principals, inverted)?;
        let (resource, inverted) = parts.one_of("Resource", "NotResource")?;
        let resources = ResourceSet::parse(&resource, bucket, variables, inverted)?;
        if !resources.fits(&actions) {
            return Err(resource.wrong(format!(
                "no action of the statement acts on this kind of resource: name `arn:aws:s3:::{bucket}` for bucket actions and `arn:aws:s3:::{bucket}/*` for object actions"
            )));
        }
        let conditions =
            parts.get("Condition").map(|block| Condition::parse_block(&block, variables)).transpose()?;
        Ok(Self {
            sid: parts.get("Sid").map(|sid| sid.string().map(str::to_owned)).transpose()?,
            effect: parts.effect()?,
            principals,
            actions,
            resources,
            conditions: conditions.unwrap_or_default(),
            place: element.place(),
        })
    }

    /// Whether the statement is about this request, conditions aside.
    pub(super) fn concerns(&self, request: &Request<'_>) -> bool {
        self.actions.contains(request.action)
            && self.resources.contains(request)
            && self.principals.contains(request.principal)
            && (self.effect == Effect::Deny || self.resources.resolves(request))
    }

    /// Whether all conditions hold; without conditions they do.
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(request, self.effect))
    }
}

const ELEMENTS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// The members of a statement by name.
struct Parts<'t> {
    statement: Element<'t>,
    members: Vec<(&'t str, Element<'t>)>,
}

impl<'t> Parts<'t> {
    fn collect(statement: &Element<'t>) -> Result<Self, PolicyError> {
        let members = statement.members()?;
        if let Some((_, member)) = members.iter().find(|(name, _)| !ELEMENTS.contains(name)) {
            return Err(
                member.wrong_name(format!("unknown element: a statement has {}", ELEMENTS.join(", ")))
            );
        }
        Ok(Self { statement: statement.clone(), members })
    }

    fn get(&self, name: &str) -> Option<Element<'t>> {
        self.members.iter().find(|(key, _)| *key == name).map(|(_, element)| element.clone())
    }

    /// The element `name`, or `inverse` and true.
    fn one_of(&self, name: &str, inverse: &str) -> Result<(Element<'t>, bool), PolicyError> {
        match (self.get(name), self.get(inverse)) {
            (Some(element), None) => Ok((element, false)),
            (None, Some(element)) => Ok((element, true)),
            (Some(_), Some(both)) => {
                Err(both.wrong_name(format!("the statement also has `{name}`: keep one of the two")))
            }
            (None, None) => {
                Err(self.statement.wrong(format!("the statement lacks `{name}` (or `{inverse}`): add it")))
            }
        }
    }

    fn effect(&self) -> Result<Effect, PolicyError> {
        let Some(element) = self.get("Effect") else {
            return Err(self.statement.wrong("the statement lacks `Effect`: add `Allow` or `Deny`"));
        };
        match element.string()? {
            "Allow" => Ok(Effect::Allow),
            "Deny" => Ok(Effect::Deny),
            other => Err(element
                .wrong(format!("`{}` is not an effect: write `Allow` or `Deny`", other.escape_debug()))),
        }
    }
}
