//! One statement of a policy: about whom, what and where it speaks, and under which conditions.

use super::{
    action::ActionSet,
    condition::Condition,
    element::Element,
    error::{Place, PolicyError},
    principal::{PrincipalSet, Reach},
    request::Request,
    resource::ResourceSet,
    scope::Scope,
    ternary::all,
};

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
    /// Parses one statement of the policy attached to `scope`; `variables` says whether its version has policy variables.
    pub(super) fn parse(element: &Element<'_>, scope: &Scope, variables: bool) -> Result<Self, PolicyError> {
        let parts = Parts::collect(element)?;
        let (actions, inverted) = parts.one_of("Action", "NotAction")?;
        let actions = ActionSet::parse(&actions, scope.service(), inverted)?;
        let principals = parts.principals(scope)?;
        let (resource, inverted) = parts.one_of("Resource", "NotResource")?;
        let resources = ResourceSet::parse(&resource, scope, variables, inverted)?;
        if let (Scope::Bucket(bucket), false) = (scope, resources.fits(&actions)) {
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
            && self.principals.reach(request.principal).is_some()
            && (self.effect == Effect::Deny || self.resources.resolves(request))
    }

    /// Whether the statement applies to all requests of the kind of `request`, or to none.
    pub(super) fn always_applies(&self, request: &Request<'_>) -> Option<bool> {
        if !self.actions.contains(request.action) || self.reach(request).is_none() {
            return Some(false);
        }
        let resolves = || match self.effect {
            Effect::Deny => Some(true),
            Effect::Allow => self.resources.always_resolves(request),
        };
        all([self.resources.always_contains(request), resolves()]
            .into_iter()
            .chain(self.conditions.iter().map(|condition| condition.always_holds(request, self.effect))))
    }

    /// Whether the statement applies.
    pub(super) fn applies(&self, request: &Request<'_>) -> bool {
        self.concerns(request) && self.holds(request)
    }

    /// How the statement means the principal of `request`, if it does.
    pub(super) fn reach(&self, request: &Request<'_>) -> Option<Reach> {
        self.principals.reach(request.principal)
    }

    /// Whether all conditions hold; without conditions they do.
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        // The process is looked at last.
        [false, true].into_iter().all(|process| {
            let mut these =
                self.conditions.iter().filter(|condition| condition.asks_the_process() == process);
            these.all(|condition| condition.holds(request, self.effect))
        })
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

    /// The principals. An identity policy has none: it is about those to whom it is attached.
    fn principals(&self, scope: &Scope) -> Result<PrincipalSet, PolicyError> {
        if *scope != Scope::Identity {
            let (principals, inverted) = self.one_of("Principal", "NotPrincipal")?;
            return PrincipalSet::parse(&principals, inverted);
        }
        match self.get("Principal").or_else(|| self.get("NotPrincipal")) {
            Some(named) => Err(named.wrong_name(
                "an identity policy names no principal: it is about those to whom it is attached, so leave this out",
            )),
            None => Ok(PrincipalSet::everyone()),
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
