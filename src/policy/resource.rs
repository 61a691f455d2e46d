//! The `Resource` element: which part of the bucket a statement is about.
//!
//! Amazon S3 user guide, "Policy resources for Amazon S3": a bucket policy speaks of its own bucket only.

use super::{
    action::{ActionSet, Level},
    element::Element,
    error::PolicyError,
    request::Request,
    template::{Reading, Template},
};
use crate::name::BucketName;

/// The `Resource` or `NotResource` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceSet {
    bucket: bool,
    objects: Vec<Template>,
    inverted: bool,
}

impl ResourceSet {
    /// Parses the element; `inverted` for `NotResource`.
    pub(super) fn parse(
        element: &Element<'_>,
        bucket: &BucketName,
        variables: bool,
        inverted: bool,
    ) -> Result<Self, PolicyError> {
        let mut set = Self { bucket: false, objects: Vec::new(), inverted };
        for item in element.one_or_many()? {
            let arn = item.string()?;
            match arn.strip_prefix("arn:aws:s3:::").and_then(|rest| rest.strip_prefix(bucket.as_str())) {
                Some("") => set.bucket = true,
                Some(rest) if rest.starts_with('/') => {
                    let reading = Reading { wildcards: true, variables, ignore_case: false };
                    let pattern = rest.get(1..).unwrap_or("");
                    set.objects.push(Template::parse(pattern, reading).map_err(|p| item.wrong(p))?);
                }
                _ => return Err(item.wrong(outside(arn, bucket))),
            }
        }
        Ok(set)
    }

    /// Whether the statement is about the resource of `request`.
    pub(super) fn contains(&self, request: &Request<'_>) -> bool {
        let listed = match request.object_text() {
            None => self.bucket,
            Some(name) => self.objects.iter().any(|pattern| pattern.matches(&name, request)),
        };
        listed != self.inverted
    }

    /// Whether every variable that decides about `request` has a value.
    pub(super) fn resolves(&self, request: &Request<'_>) -> bool {
        !self.inverted || request.object.is_none() || self.objects.iter().all(|o| o.resolves(request))
    }

    /// Whether some action of the statement acts on the kind of resource that is named; S3 refuses a policy without.
    pub(super) fn fits(&self, actions: &ActionSet) -> bool {
        self.inverted
            || (self.bucket && actions.acts_on(Level::Bucket))
            || (!self.objects.is_empty() && actions.acts_on(Level::Object))
    }

    /// The patterns of object names.
    pub(super) fn objects(&self) -> &[Template] {
        &self.objects
    }
}

fn outside(arn: &str, bucket: &BucketName) -> String {
    format!(
        "`{}` is not in this bucket: write `arn:aws:s3:::{bucket}` for the bucket or `arn:aws:s3:::{bucket}/*` for its objects",
        arn.escape_debug()
    )
}
