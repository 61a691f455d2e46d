//! Defects that tests build in on purpose, to prove that the crash tests would see them.

/// One way of getting the journal wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Replay forgets what was written in place before its frame (M2).
    DirectIgnored,
    /// A segment is reused although its objects were not synced (M6).
    ReusedUnsynced,
    /// A segment is reused before its new salt is durable (M7).
    SaltUnflushed,
    /// Replay goes from the oldest frame to the newest (M8).
    OldestFirst,
    /// Frames end on sectors, not on pages (M9).
    Unpadded,
    /// Recovery discards the newest of several segments first.
    DiscardedNewestFirst,
}

/// The defect in force: outside tests always none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Defects {
    #[cfg(test)]
    pub(super) on: Option<Defect>,
}

impl Defects {
    /// Whether the journal is to have this `defect`.
    pub(super) fn has(self, defect: Defect) -> bool {
        #[cfg(test)]
        let on = self.on == Some(defect);
        #[cfg(not(test))]
        let on = {
            // Named so that both builds read it.
            let _ = defect;
            false
        };
        on
    }
}
