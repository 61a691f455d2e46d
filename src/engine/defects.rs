//! Defects that tests build in on purpose, to prove that the crash tests would see them.

/// One way of getting a commit wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// A place counts as free when memory no longer needs it, whatever the last commit says (M1).
    FreshByMemory,
    /// Fresh data stored in place is not flushed before the frame that names it (M3).
    DataUnflushed,
    /// Overwrites go in place without the journal (M4).
    NoJournal,
    /// Changes are stored in place before their frame is durable (M5).
    AppliedEarly,
    /// The frame leaves out the header's first sector (M10).
    NoIdentity,
}

/// The defect in force: outside tests always none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defects {
    #[cfg(test)]
    pub(super) on: Option<Defect>,
}

impl Defects {
    /// Whether commits are to have this `defect`.
    pub(super) fn has(self, defect: Defect) -> bool {
        #[cfg(test)]
        let on = self.on == Some(defect);
        #[cfg(not(test))]
        let on = {
            // Named so that both builds read it.
            let _ = (self, defect);
            false
        };
        on
    }
}
