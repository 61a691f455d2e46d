//! The policy language of S3 buckets, KMS keys and users: parsed once with places in every error, evaluated for every
//! request.
//!
//! May assume checked names from [`crate::name`] and a [`Context`] that says truthfully what the request carried.
//! Must never look at keys, objects or files, never guess about an element it does not know, and never hand out a
//! [`Grant`] without an evaluation. Where AWS documents a behaviour, that behaviour decides.
//!
//! Beyond what the documentation settles:
//! - A policy variable without a value matches nothing; in an `Allow`, a negated test of such a value does not hold.
//! - A key with several values under an operator without `ForAllValues:` or `ForAnyValue:` matches if one value does.
//! - `Statement` indices count from 0.

mod action;
mod condition;
mod context;
mod decision;
mod document;
mod element;
mod error;
mod explain;
mod forecast;
mod json;
mod kind;
mod lint;
mod lock;
mod memory;
mod operator;
mod pattern;
mod policies;
mod principal;
mod remedy;
mod request;
mod resource;
mod scope;
mod statement;
mod template;
mod ternary;
mod value;
mod wildcard;

pub use action::Action;
pub use context::{Context, Process};
pub use decision::{Cause, DecidingCondition, Decision, Denial, Grant, StatementName};
pub use document::{MAX_KEY_POLICY_BYTES, MAX_POLICY_BYTES, Mode, PolicyDocument};
pub use error::{Place, PolicyError};
pub use explain::{ExplainedStatement, Explanation, TestedCondition};
pub use lint::{Lint, LintKind, lint, lint_principals, lint_users};
pub use lock::{Lock, LockMode};
pub use policies::Policies;
pub use principal::{AccountId, Principal, PrincipalArn};
pub use request::{Request, Resource};
pub use scope::Scope;

#[cfg(test)]
mod tests;
