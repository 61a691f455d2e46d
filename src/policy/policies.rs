//! The decision: all policies that have a say about a request, taken together.
//!
//! IAM user guide, "Policy evaluation logic": an explicit `Deny` anywhere; then, within one account, an `Allow` of the
//! policy of the resource or of the identity; between accounts, of both. AWS KMS developer guide, "Key policies": the
//! policy of a key is the root of authority over it, and identity policies count only where it names the account.

use std::sync::Arc;

use super::{
    decision::{Decision, Denial, Grant},
    document::{Mode, PolicyDocument},
    forecast::Answer,
    principal::Reach,
    request::{Request, Resource},
};

/// The policies that have a say about a request.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'p> {
    /// That of the bucket or key.
    pub resource: Option<&'p PolicyDocument>,
    /// Those of the principal.
    pub identity: &'p [Arc<PolicyDocument>],
    /// What decides when no statement does. In an open mode the permission bits stand for an identity's `Allow`.
    pub mode: Mode,
}

impl<'p> Policies<'p> {
    /// Decides about `request`.
    ///
    /// The owner of the mount is exempt for the policy verbs, so that no policy can lock him out.
    pub fn evaluate(&self, request: &Request<'_>) -> Decision {
        self.settled(request).unwrap_or_else(|| {
            if self.allow_at_once(request) {
                return Decision::Allow(Grant::mint(request));
            }
            self.weigh(request)
        })
    }

    /// The same by all statements, without regard to what is remembered of other requests.
    pub(super) fn evaluate_anew(&self, request: &Request<'_>) -> Decision {
        self.settled(request).unwrap_or_else(|| self.weigh(request))
    }

    /// What no statement can change.
    fn settled(&self, request: &Request<'_>) -> Option<Decision> {
        if !request.fits_together() || self.all().any(|policy| !policy.scope.has(request.resource)) {
            return Some(Decision::Deny(Denial::misdirected(request)));
        }
        let exempt = request.principal.is_owner() && request.action.is_policy_verb();
        exempt.then(|| Decision::Allow(Grant::mint(request)))
    }

    /// Whether `request` is allowed as far as is remembered of its kind. Only what is not is worth a reason.
    pub(super) fn allow_at_once(&self, request: &Request<'_>) -> bool {
        let by_resource = match self.resource.map(|policy| policy.answer(request)) {
            None => None,
            Some(Some(Answer { denied: false, allowed })) => allowed,
            Some(_) => return false,
        };
        let mut by_identity = self.mode == Mode::Open;
        for policy in self.identity {
            match policy.answer(request) {
                Some(Answer { denied: false, allowed }) => by_identity |= allowed.is_some(),
                _ => return false,
            }
        }
        self.suffices(request, by_identity, by_resource)
    }

    /// Decides by all statements.
    fn weigh(&self, request: &Request<'_>) -> Decision {
        let resource = self.resource.map(|policy| policy.judge(request));
        let identity: Vec<_> = self.identity.iter().map(|policy| policy.judge(request)).collect();
        let verdicts = || resource.iter().chain(&identity);
        if let Some(by) = verdicts().find_map(|verdict| verdict.denied) {
            return Decision::Deny(Denial::explicit(request, by));
        }
        let by_identity = self.mode == Mode::Open || identity.iter().any(|verdict| verdict.allowed.is_some());
        let by_resource = resource.as_ref().and_then(|verdict| verdict.allowed);
        if self.suffices(request, by_identity, by_resource) {
            Decision::Allow(Grant::mint(request))
        } else {
            Decision::Deny(Denial::implicit(request, verdicts().find_map(|verdict| verdict.nearest)))
        }
    }

    fn suffices(&self, request: &Request<'_>, by_identity: bool, by_resource: Option<Reach>) -> bool {
        let principal = request.principal;
        let (own_account, is_key) = match request.resource {
            Resource::Bucket(_) | Resource::Object(..) => (principal.account() == principal.home(), false),
            Resource::Key(arn) => (arn.split(':').nth(4) == Some(principal.account().as_str()), true),
        };
        match (own_account, is_key && self.resource.is_some()) {
            (false, _) => by_identity && by_resource.is_some(),
            (true, false) => by_identity || by_resource.is_some(),
            (true, true) => by_resource.is_some_and(|reach| reach == Reach::Direct || by_identity),
        }
    }

    /// Every policy, that of the resource first.
    pub(super) fn all(&self) -> impl Iterator<Item = &'p PolicyDocument> {
        self.resource.into_iter().chain(self.identity.iter().map(Arc::as_ref))
    }
}
