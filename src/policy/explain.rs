//! A decision with its reasons: every statement, why it passes a request by, and every condition with the value seen.
//!
//! Costs more than a decision and decides nothing: the outcome comes from the same evaluation.

use std::fmt;

use super::{
    condition::Condition,
    context::ConditionKey,
    decision::{DecidingCondition, Decision, Denial, Named, StatementName, quoted, seen},
    policies::Policies,
    remedy::Goal,
    request::Request,
    statement::{Effect, Statement},
};

/// A decision and what led to it.
#[derive(Debug)]
pub struct Explanation {
    /// The denial; `None` when the request is allowed.
    pub denial: Option<Denial>,
    /// The statement that decides; `None` where the mode does.
    pub deciding: Option<StatementName>,
    /// Every statement of every policy, in order.
    pub statements: Vec<ExplainedStatement>,
}

/// One statement and the request.
#[derive(Debug)]
pub struct ExplainedStatement {
    /// Which one.
    pub name: StatementName,
    /// `Allow` or `Deny`.
    pub effect: &'static str,
    /// What it is not about, where it is about everything else (`NotResource`).
    pub exceptions: Vec<String>,
    /// Why it is not about this request: the element that does not match. Its conditions are then not tested.
    pub passes_by: Option<&'static str>,
    /// Whether it applies: it is about the request and all its conditions hold.
    pub applies: bool,
    /// The conditions, tested.
    pub conditions: Vec<TestedCondition>,
}

/// One condition and the request.
#[derive(Debug)]
pub struct TestedCondition {
    /// The condition, the value seen, and what would turn it.
    pub condition: DecidingCondition,
    /// Whether it holds.
    pub holds: bool,
    /// What surprises most people about it here.
    pub trap: Option<String>,
}

impl Policies<'_> {
    /// Explains the decision about `request`.
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        let statements: Vec<_> = self
            .all()
            .flat_map(|policy| {
                policy.statements.iter().enumerate().map(|(index, statement)| {
                    explained(Named { scope: &policy.scope, index, statement }, request)
                })
            })
            .collect();
        let denial = match self.evaluate_anew(request) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial),
        };
        let allowing = || statements.iter().find(|s| s.applies && s.effect == "Allow");
        let deciding = match &denial {
            Some(denial) => denial.statement.clone(),
            None => allowing().map(|statement| statement.name.clone()),
        };
        Explanation { denial, deciding, statements }
    }
}

fn explained(named: Named<'_>, request: &Request<'_>) -> ExplainedStatement {
    let statement = named.statement;
    let passes_by = mismatch(statement, request);
    let goal = if statement.effect == Effect::Deny { Goal::MakeFalse } else { Goal::MakeTrue };
    let conditions = if passes_by.is_some() {
        Vec::new()
    } else {
        statement
            .conditions
            .iter()
            .map(|condition| tested(condition, statement.effect, request, goal))
            .collect()
    };
    ExplainedStatement {
        name: named.name(),
        exceptions: statement.resources.exceptions().to_vec(),
        effect: if statement.effect == Effect::Deny { "Deny" } else { "Allow" },
        applies: passes_by.is_none() && statement.holds(request),
        passes_by,
        conditions,
    }
}

fn mismatch(statement: &Statement, request: &Request<'_>) -> Option<&'static str> {
    if !statement.actions.contains(request.action) {
        Some("Action")
    } else if !statement.resources.contains(request) {
        Some("Resource")
    } else if statement.reach(request).is_none() {
        Some("Principal")
    } else if !statement.concerns(request) {
        Some("Resource (a variable has no value)")
    } else {
        None
    }
}

fn tested(condition: &Condition, effect: Effect, request: &Request<'_>, goal: Goal) -> TestedCondition {
    let holds = condition.holds(request, effect);
    let mut told = seen(condition, request, goal);
    if holds == (effect == Effect::Allow) {
        // It does not stand in the way.
        told.remedy = None;
    }
    TestedCondition { condition: told, holds, trap: trap(condition, effect, request) }
}

/// The surprises of rows J1, J3 and J4: what an absent key does.
fn trap(condition: &Condition, effect: Effect, request: &Request<'_>) -> Option<String> {
    let absent = request.values(&condition.key).as_slice().is_empty();
    if !absent || condition.wants_absent().is_some() || !condition.operator.holds_when_absent() {
        return None;
    }
    let verdict = if effect == Effect::Deny { "denied" } else { "allowed" };
    let key = &condition.key_text;
    let plain = condition.operator.name.trim_end_matches("IfExists");
    Some(if condition.operator.if_exists && condition.operator.negated {
        format!(
            "`IfExists` makes a request without `{key}` {verdict} too; to leave such a request alone, test `Null` of the key for `false` and use `{plain}` in the same block"
        )
    } else if condition.operator.if_exists {
        format!("`IfExists` holds for a request without `{key}`")
    } else if condition.operator.negated {
        let why = match condition.key {
            ConditionKey::Encryption => "; the default of a bucket is no header",
            ConditionKey::Exe => "; a program in a container has no name",
            _ => "",
        };
        format!("a negated operator holds for a request without `{key}`{why}")
    } else {
        format!("`ForAllValues` holds for a request without `{key}`: add `Null` of the key for `false`")
    })
}

/// How the statement stands to the request.
impl fmt::Display for ExplainedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.passes_by {
            Some(element) => write!(f, "not about this request ({element})")?,
            None if self.applies => f.write_str("applies")?,
            None => f.write_str("does not apply")?,
        }
        if self.exceptions.is_empty() {
            return Ok(());
        }
        write!(f, "; it is about everything but {}", quoted(&self.exceptions, " and "))
    }
}

impl fmt::Display for TestedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.holds { "holds" } else { "does not hold" }, self.condition)?;
        self.trap.as_ref().map_or(Ok(()), |trap| write!(f, "; {trap}"))
    }
}
