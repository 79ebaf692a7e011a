//! Scopes: what a token lets its bearer do, as RabbitMQ's plugin maps them.
//!
//! `read:VHOST/NAME`, `write:…`, `configure:…`, with a routing key's pattern as a third part for
//! topic exchanges; `tag:NAME` for a tag. Others are nobody's business here.

use super::wildcard::Wildcard;
use crate::auth::tag;
use crate::base::Name;
use crate::base::limits::TOKEN_SCOPES_MAX;
use crate::base::reply::Access;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    grants: Vec<Grant>,
    pub(super) tags: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    access: Access,
    vhost: Wildcard,
    name: Wildcard,
    key: Option<Wildcard>,
}

impl Scopes {
    /// Reads those that begin with `prefix`. None if there are too many.
    pub(super) fn parse<'s>(scopes: impl Iterator<Item = &'s str>, prefix: &str) -> Option<Scopes> {
        let mut parsed = Scopes::default();
        for scope in scopes.filter_map(|scope| scope.strip_prefix(prefix)) {
            if parsed.grants.len() + parsed.tags.len() == TOKEN_SCOPES_MAX {
                return None;
            }
            match scope.split_once(':') {
                Some(("tag", tag)) => parsed.tags.push(Name::from(tag)),
                Some((access, pattern)) => parsed.grants.extend(Grant::parse(access, pattern)),
                None => {}
            }
        }
        Some(parsed)
    }

    /// All there are, and the tag of an administrator.
    pub(super) fn everything() -> Self {
        let all = [Access::Configure, Access::Write, Access::Read];
        Scopes {
            grants: all.map(Grant::of_everything).into(),
            tags: vec![Name::from(tag::ADMINISTRATOR)],
        }
    }

    /// Whether anything in the vhost is granted.
    pub(super) fn enter(&self, vhost: &Name) -> bool {
        let vhost = vhost.as_bytes();
        self.grants.iter().any(|grant| grant.vhost.matches(vhost))
    }

    /// Whether a queue or exchange may be used.
    pub(super) fn allow(&self, access: Access, vhost: &Name, name: &str) -> bool {
        let fits = |grant: &Grant| grant.fits(access, vhost, name);
        self.grants.iter().any(fits)
    }

    /// Whether a routing key of a topic exchange may be used: only a scope that speaks of keys says so.
    pub(super) fn allow_key(&self, access: Access, vhost: &Name, name: &str, key: &[u8]) -> bool {
        let fits = |grant: &Grant| {
            let key_fits = grant
                .key
                .as_ref()
                .is_some_and(|pattern| pattern.matches(key));
            key_fits && grant.fits(access, vhost, name)
        };
        self.grants.iter().any(fits)
    }
}

impl Grant {
    fn of_everything(access: Access) -> Self {
        let all = || Wildcard::new("*");
        Grant {
            access,
            vhost: all(),
            name: all(),
            key: Some(all()),
        }
    }

    fn parse(access: &str, pattern: &str) -> Option<Grant> {
        let access = match access {
            "configure" => Access::Configure,
            "write" => Access::Write,
            "read" => Access::Read,
            _ => return None,
        };
        let mut parts = pattern.split('/').map(Wildcard::new);
        let grant = Grant {
            access,
            vhost: parts.next()?,
            name: parts.next()?,
            key: parts.next(),
        };
        parts.next().is_none().then_some(grant)
    }

    fn fits(&self, access: Access, vhost: &Name, name: &str) -> bool {
        self.access == access
            && self.vhost.matches(vhost.as_bytes())
            && self.name.matches(name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse(text.split(' '), "rabbitmq.").unwrap()
    }

    #[test]
    fn a10_a_scope_grants_one_access_to_what_its_patterns_match() {
        let scopes =
            scopes("rabbitmq.write:%2F/orders-* rabbitmq.read:*/q rabbitmq.tag:management");
        let root = Name::from("/");
        assert!(scopes.allow(Access::Write, &root, "orders-1"));
        for (access, vhost, name) in [
            (Access::Read, "/", "orders-1"),
            (Access::Configure, "/", "orders-1"),
            (Access::Write, "/", "order"),
            (Access::Write, "other", "orders-1"),
        ] {
            assert!(
                !scopes.allow(access, &vhost.into(), name),
                "{access} {vhost} {name}"
            );
        }
        assert!(scopes.allow(Access::Read, &"other".into(), "q"));
        assert!(scopes.enter(&"anywhere".into()));
        assert_eq!(scopes.tags, [Name::from("management")]);
    }

    #[test]
    fn a10_keys_of_topic_exchanges_need_a_third_part() {
        let scopes = scopes("rabbitmq.write:*/amq.topic rabbitmq.write:*/t/a.*");
        let (vhost, write) = (Name::from("/"), Access::Write);
        assert!(scopes.allow(write, &vhost, "amq.topic") && scopes.allow(write, &vhost, "t"));
        assert!(!scopes.allow_key(write, &vhost, "amq.topic", b"a.b"));
        assert!(scopes.allow_key(write, &vhost, "t", b"a.b"));
        assert!(!scopes.allow_key(write, &vhost, "t", b"b.a"));
        assert!(!scopes.allow_key(Access::Read, &vhost, "t", b"a.b"));
    }

    #[test]
    fn what_is_no_scope_of_ours_grants_nothing() {
        let scopes = scopes(
            "other.read:*/* read:*/* rabbitmq.read rabbitmq.read:* rabbitmq.own:*/* rabbitmq.read:a/b/c/d",
        );
        assert_eq!(scopes, Scopes::default());
        assert!(!scopes.enter(&"/".into()));
    }

    #[test]
    fn there_may_be_so_many_scopes_and_no_more() {
        let many = |count| Scopes::parse(std::iter::repeat_n("read:*/*", count), "");
        assert!(many(TOKEN_SCOPES_MAX).is_some());
        assert!(many(TOKEN_SCOPES_MAX + 1).is_none());
    }
}
