//! The contract, kept by the simulated disk; and what each power cut does.

use super::*;

mod contract_of_the_store {
    use super::*;
    use crate::store::contract::{core::core_suite, posix::posix_suite};

    core_suite!(SimDisk::new(Host::Ordered).root());
    posix_suite!(SimDisk::new(Host::Wild).root());
}
