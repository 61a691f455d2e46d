//! Users and groups of this machine, as the configuration and the command line name them.

use std::{path::PathBuf, sync::Arc};

use crate::{
    config::{Config, Identity, MountOptions, PolicyMode},
    engine::{self, Profiled, Who, read_identity_policy},
    policy::{AccountId, Mode, PolicyDocument, Principal, PrincipalArn},
};

use super::{
    exit::{Exit, Refusal},
    sse::requested,
};

/// What the configuration says about access. A user that does not exist, and a policy that is broken, are refused: what
/// was meant to restrict somebody would else restrict nobody.
pub(super) fn access(config: &Config) -> anyhow::Result<engine::Access> {
    let mut access = engine::Access { mode: mode(config), account: account(config), ..Default::default() };
    for (identity, arn) in &config.principals {
        let arn = PrincipalArn::parse(arn).map_err(|problem| refused(format!("[principals]: {problem}")))?;
        access.arns.push((resolve(identity)?, arn));
    }
    for (identity, file) in &config.identity_policies {
        read_identity_policy(file)
            .map_err(|problem| refused(format!("identity policy `{}`: {problem}", file.display())))?;
        access.policies.push((resolve(identity)?, file.clone()));
    }
    for (identity, profile) in &config.profiles {
        let encryption = requested(&MountOptions {
            sse: profile.sse,
            sse_kms_key: profile.sse_kms_key.clone(),
            sse_context: profile.sse_context.clone(),
            sse_bucket_key: profile.sse_bucket_key,
            ..MountOptions::default()
        })?;
        access.profiles.insert(profiled(identity)?, encryption);
    }
    Ok(access)
}

fn profiled(identity: &Identity) -> anyhow::Result<Profiled> {
    if let Identity::Program(path) = identity {
        return Ok(Profiled::Program(path.clone()));
    }
    Ok(match resolve(identity)? {
        Who::User(uid) => Profiled::User(uid),
        Who::Group(gid) => Profiled::Group(gid),
    })
}

/// The configured account.
pub(super) fn account(config: &Config) -> AccountId {
    AccountId::parse(config.policy.account.as_str()).expect("both rooms want 12 digits")
}

/// The configured mode.
pub(super) fn mode(config: &Config) -> Mode {
    match config.policy.mode {
        PolicyMode::Open => Mode::Open,
        PolicyMode::Closed => Mode::Closed,
    }
}

/// A user of this machine as policies see him, by name or number.
pub(super) fn principal(config: &Config, user: &str) -> anyhow::Result<Principal> {
    let by_number = user.parse().ok().and_then(uzers::get_user_by_uid);
    let found = uzers::get_user_by_name(user).or(by_number);
    let (uid, gid, name) = match (&found, user.parse::<u32>()) {
        (Some(found), _) => (found.uid(), found.primary_group_id(), found.name().to_str()),
        // A number without a name may own files too.
        (None, Ok(uid)) => (uid, uid, None),
        (None, Err(_)) => {
            return Err(refused(format!("no user is called `{user}`: name one, or give a number")));
        }
    };
    let groups = found.as_ref().and_then(uzers::User::groups).unwrap_or_default();
    let mut gids = vec![gid];
    gids.extend(groups.iter().map(uzers::Group::gid).filter(|other| *other != gid));
    let principal = Principal::new(account(config), uid, gids, name);
    let access = access(config)?;
    let given = |wanted: Who| access.arns.iter().find(|(who, _)| *who == wanted);
    Ok(match given(Who::User(uid)).or_else(|| given(Who::Group(gid))) {
        Some((_, arn)) => principal.known_as(arn),
        None => principal,
    })
}

/// The policies that the configuration attaches to `principal` and his groups.
pub(super) fn identity_policies(
    config: &Config,
    principal: &Principal,
) -> anyhow::Result<Vec<Arc<PolicyDocument>>> {
    let meant = |who: &Who| match who {
        Who::User(uid) => *uid == principal.uid(),
        Who::Group(gid) => principal.gids().contains(gid),
    };
    let attached = access(config)?.policies;
    let read = |(_, file): &(Who, PathBuf)| read_identity_policy(file).map(Arc::new).map_err(refused);
    attached.iter().filter(|(who, _)| meant(who)).map(read).collect()
}

/// The user or group that `identity` means; one that does not exist on this machine is refused.
pub(super) fn resolve(identity: &Identity) -> anyhow::Result<Who> {
    let unknown =
        || refused(format!("`{identity}` does not exist on this machine: name another, or make it first"));
    Ok(match identity {
        Identity::Program(path) => {
            return Err(refused(format!(
                "a program (`{path}`) has a profile, and neither ARN nor policy: name a user or group"
            )));
        }
        Identity::Uid(uid) => Who::User(*uid),
        Identity::Gid(gid) => Who::Group(*gid),
        Identity::UserName(name) => Who::User(uzers::get_user_by_name(name).ok_or_else(unknown)?.uid()),
        Identity::GroupName(name) => Who::Group(uzers::get_group_by_name(name).ok_or_else(unknown)?.gid()),
    })
}

fn refused(message: String) -> anyhow::Error {
    Refusal::error(Exit::Usage, message)
}
