//! Crashes of the whole stack: what an application was told to be durable is there afterwards.

mod faults;
mod history;
mod kills;
mod recorder;
mod replay;
mod writers;

pub(crate) use kills::kill;
