//! Slots for a TPM, with a real software TPM (`scripts/dev-tpm`) behind them. Needs root and `/dev/fuse`: every store
//! here can be mounted.

mod bench;
mod bus;
mod device;
mod drive;
mod refusals;
mod slots;
