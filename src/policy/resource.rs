//! The `Resource` element: what a statement is about.
//!
//! Amazon S3 user guide, "Policy resources for Amazon S3": a bucket policy speaks of its own bucket only. AWS KMS
//! developer guide, "Key policies": there, `*` means the key that the policy is attached to. IAM user guide, "IAM JSON
//! policy elements: Resource": in an identity policy a wildcard does not cross the first five colons of an ARN.

use std::borrow::Cow;

use super::{
    action::{ActionSet, Level},
    element::Element,
    error::PolicyError,
    request::{Request, Resource},
    scope::Scope,
    template::{Reading, Template, arn_always_matches_in, arn_matches},
    ternary::any,
};
use crate::name::BucketName;

/// The `Resource` or `NotResource` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceSet {
    everything: bool,
    bucket: bool,
    objects: Vec<Template>,
    /// Patterns of whole ARNs, each in its six components.
    arns: Vec<Vec<Template>>,
    inverted: bool,
    /// The items of `NotResource` as they are written.
    exceptions: Vec<String>,
}

impl ResourceSet {
    /// Parses the element of a policy attached to `scope`; `inverted` for `NotResource`.
    pub(super) fn parse(
        element: &Element<'_>,
        scope: &Scope,
        variables: bool,
        inverted: bool,
    ) -> Result<Self, PolicyError> {
        let mut set = Self {
            everything: false,
            bucket: false,
            objects: Vec::new(),
            arns: Vec::new(),
            inverted,
            exceptions: Vec::new(),
        };
        let reading = Reading { wildcards: true, variables, ignore_case: false };
        for item in element.one_or_many()? {
            if inverted {
                set.exceptions.push(item.string()?.to_owned());
            }
            match scope {
                Scope::Bucket(bucket) => set.add_of_bucket(&item, bucket, reading)?,
                Scope::Key(key) => set.add_of_key(&item, key)?,
                Scope::Identity => set.add_arn(&item, reading)?,
            }
        }
        Ok(set)
    }

    fn add_of_bucket(
        &mut self,
        item: &Element<'_>,
        bucket: &BucketName,
        reading: Reading,
    ) -> Result<(), PolicyError> {
        let arn = item.string()?;
        match arn.strip_prefix("arn:aws:s3:::").and_then(|rest| rest.strip_prefix(bucket.as_str())) {
            Some("") => self.bucket = true,
            Some(rest) if rest.starts_with('/') => {
                let pattern = rest.get(1..).unwrap_or("");
                self.objects.push(Template::parse(pattern, reading).map_err(|p| item.wrong(p))?);
            }
            _ => return Err(item.wrong(outside(arn, bucket))),
        }
        Ok(())
    }

    fn add_of_key(&mut self, item: &Element<'_>, key: &str) -> Result<(), PolicyError> {
        let text = item.string()?;
        if text != "*" && text != key {
            return Err(item.wrong(format!(
                "`{}` is not the key of this policy: write `*`, which means this key and no other",
                text.escape_debug()
            )));
        }
        self.everything = true;
        Ok(())
    }

    fn add_arn(&mut self, item: &Element<'_>, reading: Reading) -> Result<(), PolicyError> {
        let text = item.string()?;
        if text == "*" {
            self.everything = true;
            return Ok(());
        }
        let components = Template::parse_arn(text, reading.variables).map_err(|p| item.wrong(p))?;
        let known = text.starts_with("arn:aws:s3:") || text.starts_with("arn:aws:kms:");
        let Some(components) = components.filter(|_| known) else {
            return Err(item.wrong(format!(
                "`{}` is no ARN of S3 or KMS: write `arn:aws:s3:::<bucket>`, `arn:aws:s3:::<bucket>/*`, \
                 `arn:aws:kms:<region>:<account>:key/<id>` or `*`",
                text.escape_debug()
            )));
        };
        self.arns.push(components);
        Ok(())
    }

    /// The items of `NotResource` as they are written.
    pub(super) fn exceptions(&self) -> &[String] {
        &self.exceptions
    }

    /// Whether the statement is about the resource of `request`.
    pub(super) fn contains(&self, request: &Request<'_>) -> bool {
        let listed = self.everything
            || match request.resource {
                Resource::Bucket(_) => self.bucket,
                Resource::Object(..) => {
                    let name = request.resource.object().unwrap_or_default();
                    self.objects.iter().any(|pattern| pattern.matches(&name, request))
                }
                Resource::Key(_) => false,
            }
            || (!self.arns.is_empty() && {
                let arn = request.resource.arn();
                self.arns.iter().any(|pattern| arn_matches(pattern, &arn, request))
            });
        listed != self.inverted
    }

    /// Whether the statement is about the resources of all requests of the kind of `request`, or of none.
    pub(super) fn always_contains(&self, request: &Request<'_>) -> Option<bool> {
        let (resource, directory) = (request.resource, request.resource.directory());
        let listed = match resource {
            _ if self.everything => Some(true),
            Resource::Bucket(_) => Some(self.bucket),
            Resource::Object(..) => {
                any(self.objects.iter().map(|pattern| pattern.always_matches_in(&directory, request)))
            }
            Resource::Key(_) => Some(false),
        };
        let arn = || match resource {
            Resource::Object(bucket, _) => format!("arn:aws:s3:::{bucket}/{directory}").into(),
            Resource::Bucket(_) | Resource::Key(_) => resource.arn(),
        };
        let by_arn = |pattern: &Vec<Template>, arn: &str| match resource {
            Resource::Object(..) => arn_always_matches_in(pattern, arn, request),
            _ if pattern.iter().all(Template::is_constant) => Some(arn_matches(pattern, arn, request)),
            Resource::Bucket(_) | Resource::Key(_) => None,
        };
        let arns = if self.arns.is_empty() {
            Some(false)
        } else {
            let arn: Cow<'_, str> = arn();
            any(self.arns.iter().map(|pattern| by_arn(pattern, &arn)))
        };
        any([listed, arns]).map(|listed| listed != self.inverted)
    }

    /// Whether every variable that decides has a value in all requests of the kind of `request`, or in none.
    pub(super) fn always_resolves(&self, request: &Request<'_>) -> Option<bool> {
        let constant = !self.inverted || self.templates().all(Template::is_constant);
        constant.then(|| self.resolves(request))
    }

    /// Whether every variable that decides about `request` has a value.
    pub(super) fn resolves(&self, request: &Request<'_>) -> bool {
        if !self.inverted {
            return true;
        }
        let about_object = matches!(request.resource, Resource::Object(..));
        self.arns.iter().flatten().all(|part| part.resolves(request))
            && (!about_object || self.objects.iter().all(|o| o.resolves(request)))
    }

    /// Whether some action of the statement acts on the kind of resource that is named; S3 refuses a policy without.
    pub(super) fn fits(&self, actions: &ActionSet) -> bool {
        self.inverted
            || self.everything
            || !self.arns.is_empty()
            || (self.bucket && actions.acts_on(Level::Bucket))
            || (!self.objects.is_empty() && actions.acts_on(Level::Object))
    }

    /// The text patterns of the element.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.objects.iter().chain(self.arns.iter().flatten())
    }

    /// Whether every resource that `other` lists is listed here, in the same words or as what begins so.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self.inverted || other.inverted {
            return self == other;
        }
        let is_listed = |object: &Template| self.objects.iter().any(|mine| mine.covers(object));
        let is_arn = |arn: &Vec<Template>| {
            self.arns
                .iter()
                .any(|mine| mine.len() == arn.len() && mine.iter().zip(arn).all(|(a, b)| a.covers(b)))
        };
        self.everything
            || (!other.everything
                && (self.bucket || !other.bucket)
                && other.objects.iter().all(is_listed)
                && other.arns.iter().all(is_arn))
    }
}

fn outside(arn: &str, bucket: &BucketName) -> String {
    format!(
        "`{}` is not in this bucket: write `arn:aws:s3:::{bucket}` for the bucket or `arn:aws:s3:::{bucket}/*` for its objects",
        arn.escape_debug()
    )
}
