//! Yes, no, and `None` for "that depends": conjunction and disjunction of what is known so far.

/// Whether all hold: one that does not settles it.
pub(super) fn all(of: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    any(of.into_iter().map(|one| one.map(|holds| !holds))).map(|fails| !fails)
}

/// Whether any holds: one that does settles it.
pub(super) fn any(of: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(false);
    for one in of {
        match one {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = None,
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_does_not_wait_for_what_depends() {
        for (of, both, either) in [
            (&[][..], Some(true), Some(false)),
            (&[Some(true), Some(true)], Some(true), Some(true)),
            (&[Some(true), Some(false)], Some(false), Some(true)),
            (&[Some(false), Some(false)], Some(false), Some(false)),
            (&[None, Some(true)], None, Some(true)),
            (&[None, Some(false)], Some(false), None),
            (&[None, None], None, None),
        ] {
            assert_eq!((all(of.iter().copied()), any(of.iter().copied())), (both, either), "{of:?}");
        }
    }
}
