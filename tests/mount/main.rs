//! The drive on a real mount, used by the system's own tools and compared with a native directory.
//!
//! These tests need root, `/dev/fuse` and the packages that `scripts/test` installs. Where one is missing they fail:
//! a drive that was not tried is not known to work.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod control;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod encryption;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod posix;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod transports;
