//! What a policy says about all requests of a [`Kind`](super::kind::Kind), and which of its statements have to be asked
//! about each of them.
//!
//! A request that is allowed so is allowed by the whole policy: every statement that could say otherwise has been asked,
//! for the kind or for the request.

use super::{
    document::PolicyDocument,
    principal::Reach,
    request::Request,
    statement::{Effect, Statement},
};

/// What a policy says about a request, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// Whether a statement denies it.
    pub(super) denied: bool,
    /// How the statements that allow it mean the principal, at the closest.
    pub(super) allowed: Option<Reach>,
}

/// The answer as far as the kind of a request settles it.
#[derive(Debug)]
pub(super) struct Forecast {
    settled: Answer,
    /// Positions of the statements that apply to some requests of the kind only.
    open: Vec<usize>,
}

impl Forecast {
    /// What `policy` says about requests of the kind of `request`.
    pub(super) fn new(policy: &PolicyDocument, request: &Request<'_>) -> Self {
        let mut forecast = Self { settled: Answer::default(), open: Vec::new() };
        for (index, statement) in policy.statements.iter().enumerate() {
            match statement.always_applies(request) {
                Some(true) => forecast.settled.add(statement, request),
                Some(false) => {}
                None => forecast.open.push(index),
            }
        }
        forecast
    }

    /// What `policy` says about `request`, which is of the kind.
    pub(super) fn answer(&self, policy: &PolicyDocument, request: &Request<'_>) -> Answer {
        let mut answer = self.settled;
        let open = self.open.iter().filter_map(|index| policy.statements.get(*index));
        for statement in open {
            if answer.denied {
                break;
            }
            if answer.needs(statement) && statement.applies(request) {
                answer.add(statement, request);
            }
        }
        answer
    }
}

impl Answer {
    fn add(&mut self, statement: &Statement, request: &Request<'_>) {
        match statement.effect {
            Effect::Deny => self.denied = true,
            Effect::Allow if self.allowed != Some(Reach::Direct) => self.allowed = statement.reach(request),
            Effect::Allow => {}
        }
    }

    /// Whether it would be another one if `statement` applied.
    fn needs(self, statement: &Statement) -> bool {
        statement.effect == Effect::Deny || self.allowed != Some(Reach::Direct)
    }
}
