//! Local users as the principals that policies name, and the policies that are attached to them.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use super::{Caller, Encryption, EngineError, Result, clock, process::Asker, programs::Programs};
use crate::{
    policy::{AccountId, Mode, PolicyDocument, Principal, PrincipalArn, Process},
    store::Timestamp,
};

/// Whom an administrator speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The user with this number.
    User(u32),
    /// Every member of the group with this number. What is said about the user himself goes first.
    Group(u32),
}

/// Whose requests a profile is for. What is said about the program goes first, then the user, then the group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profiled {
    /// Those of the program at this path.
    Program(String),
    /// Those of this user.
    User(u32),
    /// Those whose primary group is this one.
    Group(u32),
}

/// What an administrator says about access besides the policies of buckets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// What decides where no policy does.
    pub mode: Mode,
    /// The account that policies see local users in, unless they have ARNs of their own.
    pub account: AccountId,
    /// The ARNs that policies know users and groups by, instead of `user/<name>` in the account of the store.
    pub arns: Vec<(Who, PrincipalArn)>,
    /// Files with the policies attached to them.
    pub policies: Vec<(Who, PathBuf)>,
    /// The encryption that their requests name.
    pub profiles: BTreeMap<Profiled, Encryption>,
}

/// Looks users up once and keeps them. One without a name is looked up again after a while: the service that knows the
/// names may not have been there yet, and what a policy says about him by his name must not pass him by for good.
pub(super) struct Principals {
    account: AccountId,
    owner: u32,
    arns: Vec<(Who, PrincipalArn)>,
    policies: Vec<(Who, PolicyOfIdentity)>,
    profiles: BTreeMap<Profiled, Encryption>,
    known: RwLock<HashMap<(u32, u32), Known>>,
    programs: Programs,
}

/// A user as he was looked up, and until when that holds if he has no name.
struct Known {
    principal: Arc<Principal>,
    nameless_until: Option<Instant>,
}

/// Most users kept; a system with more just looks some up again.
const MOST: usize = 4096;
/// How long a user without a name is taken for one who has none.
const PATIENCE: Duration = Duration::from_mins(1);

impl Principals {
    /// Users as `access` says; `owner` is the user who runs the mount.
    pub(super) fn new(owner: u32, access: &Access) -> Self {
        let attached = |(who, file): &(Who, PathBuf)| (*who, PolicyOfIdentity::new(file));
        Self {
            account: access.account.clone(),
            owner,
            arns: access.arns.clone(),
            policies: access.policies.iter().map(attached).collect(),
            profiles: access.profiles.clone(),
            known: RwLock::default(),
            programs: Programs::default(),
        }
    }

    /// The principal who makes a request.
    pub(super) fn of(&self, caller: &Caller) -> Arc<Principal> {
        let key = (caller.uid, caller.gid);
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&key)
            && known.nameless_until.is_none_or(|until| Instant::now() < until)
        {
            return known.principal.clone();
        }
        let (principal, named) = self.look_up(caller);
        let principal = Arc::new(principal);
        let nameless_until = (!named).then(|| Instant::now() + PATIENCE);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, Known { principal: principal.clone(), nameless_until });
        principal
    }

    /// The principal, and whether the system knows his name.
    fn look_up(&self, caller: &Caller) -> (Principal, bool) {
        let user = uzers::get_user_by_uid(caller.uid);
        let name = user.as_ref().and_then(|user| user.name().to_str());
        let mut principal = Principal::new(self.account.clone(), caller.uid, vec![caller.gid], name);
        let given = |wanted: Who| self.arns.iter().find(|(who, _)| *who == wanted);
        if let Some((_, arn)) = given(Who::User(caller.uid)).or_else(|| given(Who::Group(caller.gid))) {
            principal = principal.known_as(arn);
        }
        let principal = if caller.uid == self.owner { principal.as_owner() } else { principal };
        (principal, name.is_some())
    }

    /// The programs of those who ask.
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The account of the store and its users.
    pub(super) fn account(&self) -> &AccountId {
        &self.account
    }

    /// What the requests of `caller` name.
    pub(super) fn profile(&self, caller: &Caller) -> Option<Encryption> {
        let by_program = matches!(self.profiles.first_key_value(), Some((Profiled::Program(_), _)));
        let program = if by_program { self.programs.path(caller.pid) } else { None };
        let of_program = program.and_then(|path| self.profiles.get(&Profiled::Program(path.to_string())));
        let of_user = || self.profiles.get(&Profiled::User(caller.uid));
        let of_group = || self.profiles.get(&Profiled::Group(caller.gid));
        of_program.or_else(of_user).or_else(of_group).cloned()
    }

    /// Whether any user or group has a policy.
    pub(super) fn have_policies(&self) -> bool {
        !self.policies.is_empty()
    }

    /// The policies attached to `caller` and to the groups of the process that asks.
    pub(super) fn policies_of(&self, caller: &Caller) -> Result<Vec<Arc<PolicyDocument>>> {
        let by_group = self.policies.iter().any(|(who, _)| matches!(who, Who::Group(_)));
        let groups = if by_group { Asker { pid: caller.pid }.groups() } else { Vec::new() };
        let meant = |who: &Who| match who {
            Who::User(uid) => *uid == caller.uid,
            Who::Group(gid) => *gid == caller.gid || groups.contains(gid),
        };
        self.policies.iter().filter(|(who, _)| meant(who)).map(|(_, policy)| policy.current()).collect()
    }
}

/// A policy in a file, read again when the file is another one. The file may be anywhere, and a link: it is looked at
/// each time.
struct PolicyOfIdentity {
    file: PathBuf,
    /// What was read, and from which file; whether a later change is sure to have another stamp.
    read: RwLock<Option<(Stamp, bool, Read)>>,
}

/// The policy, or what is wrong with it.
type Read = std::result::Result<Arc<PolicyDocument>, String>;

/// What tells one version of the file from the next: device, inode, size, and the times of its content and of its inode.
type Stamp = (u64, u64, u64, [Timestamp; 2]);

impl PolicyOfIdentity {
    fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), read: RwLock::new(None) }
    }

    /// The policy as the file says it now. Where it cannot be read, those whom it is attached to may do nothing.
    fn current(&self) -> Result<Arc<PolicyDocument>> {
        // Before the file is looked at: what changes meanwhile changes after this.
        let now = clock::now();
        let stamp = stamp_of(&self.file).map_err(|error| self.broken(error.to_string()))?;
        if let Some((known, true, outcome)) = &*self.read.read().unwrap_or_else(PoisonError::into_inner)
            && *known == stamp
        {
            return outcome.clone().map_err(|reason| self.broken(reason));
        }
        let outcome = read_identity_policy(&self.file).map(Arc::new);
        if let Err(reason) = &outcome {
            log::error!("identity policy `{}` is broken: {reason}", self.file.display());
        }
        let settled = clock::is_settled(stamp.3[1], now);
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((stamp, settled, outcome.clone()));
        outcome.map_err(|reason| self.broken(reason))
    }

    fn broken(&self, reason: String) -> EngineError {
        EngineError::IdentityPolicy { file: self.file.display().to_string(), reason }
    }
}

/// Reads and checks the policy of a user or group.
pub fn read_identity_policy(file: &Path) -> std::result::Result<PolicyDocument, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    PolicyDocument::parse_identity(&text).map_err(|error| error.to_string())
}

fn stamp_of(file: &Path) -> io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let stat = fs::metadata(file)?;
    let time = |sec, nsec| Timestamp { sec, nsec: u32::try_from(nsec).unwrap_or_default() };
    let times = [time(stat.mtime(), stat.mtime_nsec()), time(stat.ctime(), stat.ctime_nsec())];
    Ok((stat.dev(), stat.ino(), stat.len(), times))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY_ALL: &str = r#"{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#;

    fn caller(uid: u32, gid: u32) -> Caller {
        Caller { uid, gid, pid: 0, umask: 0 }
    }

    fn principals(arns: &[(Who, PrincipalArn)], policies: &[(Who, PathBuf)]) -> Principals {
        let account = AccountId::parse("111122223333").unwrap();
        let (arns, policies) = (arns.to_vec(), policies.to_vec());
        let access = Access { account, arns, policies, ..Access::default() };
        Principals::new(7, &access)
    }

    #[test]
    fn a_user_is_known_by_the_arn_that_he_was_given_before_that_of_his_group() {
        let arn = |name: &str| PrincipalArn::parse(&format!("arn:aws:iam::999999999999:{name}")).unwrap();
        let principals = principals(
            &[(Who::Group(50), arn("role/Backup")), (Who::User(4_000_001), arn("user/team/ann"))],
            &[],
        );
        let ann = principals.of(&caller(4_000_001, 50));
        assert_eq!(
            (ann.arn(), ann.user(), ann.account().as_str()),
            ("arn:aws:iam::999999999999:user/team/ann", Some("ann"), "999999999999")
        );
        let other = principals.of(&caller(4_000_002, 50));
        assert_eq!((other.arn(), other.user()), ("arn:aws:iam::999999999999:role/Backup", None));
        let stranger = principals.of(&caller(4_000_002, 51));
        assert_eq!(stranger.arn(), "arn:aws:iam::111122223333:user/uid:4000002");
    }

    #[test]
    fn a_policy_follows_its_file_and_a_broken_one_allows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.json");
        let principals = principals(&[], &[(Who::User(1), file.clone())]);
        assert!(principals.policies_of(&caller(1, 1)).is_err(), "there is no file yet");
        assert!(principals.policies_of(&caller(2, 1)).unwrap().is_empty());
        fs::write(&file, DENY_ALL).unwrap();
        assert_eq!(principals.policies_of(&caller(1, 1)).unwrap().len(), 1);
        fs::write(&file, "{").unwrap();
        let refused = principals.policies_of(&caller(1, 1)).unwrap_err().to_string();
        assert!(refused.contains("line 1"), "{refused}");
    }

    /// The second is written in place, has the same length, and comes within a tick of the clock that stamps files.
    #[test]
    fn a_policy_that_is_changed_at_once_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.json");
        let principals = principals(&[], &[(Who::User(1), file.clone())]);
        fs::write(&file, DENY_ALL).unwrap();
        assert!(principals.policies_of(&caller(1, 1)).is_ok());
        fs::write(&file, DENY_ALL.replace('}', "]")).unwrap();
        // The kernel's clock may have gone on between these two; what is remembered is put as if it had not.
        let (_, policy) = &principals.policies[0];
        if let Some((stamp, settled, _)) = &mut *policy.read.write().unwrap() {
            assert!(!*settled, "it was read right after it was written");
            *stamp = stamp_of(&file).unwrap();
        }
        assert!(principals.policies_of(&caller(1, 1)).is_err());
    }

    /// A name service that came up after the drive left everybody without a name, and denials by name without effect.
    #[test]
    fn who_had_no_name_is_looked_up_again_after_a_while() {
        let principals = principals(&[], &[]);
        let root = caller(0, 0);
        let nameless = Principal::new(AccountId::default(), 0, vec![0], None);
        let put = |until: Instant| {
            let known = Known { principal: Arc::new(nameless.clone()), nameless_until: Some(until) };
            principals.known.write().unwrap().insert((0, 0), known);
        };
        put(Instant::now() + PATIENCE);
        assert_eq!(principals.of(&root).user(), None);
        put(Instant::now());
        assert_eq!(principals.of(&root).user(), Some("root"));
        assert!(principals.known.read().unwrap()[&(0, 0)].nameless_until.is_none());
        principals.of(&caller(4_000_009, 1));
        assert!(principals.known.read().unwrap()[&(4_000_009, 1)].nameless_until.is_some());
    }

    #[test]
    fn a_group_policy_holds_for_members_by_their_supplementary_groups_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.json");
        fs::write(&file, DENY_ALL).unwrap();
        let Some(own) = rustix::process::getgroups().unwrap().first().map(|gid| gid.as_raw()) else {
            let principals = principals(&[], &[(Who::Group(9), file)]);
            assert_eq!(principals.policies_of(&caller(1, 9)).unwrap().len(), 1);
            return;
        };
        let principals = principals(&[], &[(Who::Group(own), file)]);
        let mut asking = Caller { pid: std::process::id(), ..caller(1, own + 1) };
        assert_eq!(principals.policies_of(&asking).unwrap().len(), 1);
        asking.pid = 0;
        assert!(principals.policies_of(&asking).unwrap().is_empty());
    }
}
