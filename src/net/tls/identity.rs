//! The names in a certificate.
//!
//! Owns which of them is a client's user name (A10), and how a subject is written.

use std::fmt::Write;
use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use crate::base::Name;
use crate::config::LoginFrom;

/// The user that a client's certificate names. The certificate has been verified.
pub(super) fn user(certificate: &CertificateDer<'_>, from: LoginFrom) -> Option<Name> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let alternative = |pick: &dyn Fn(&GeneralName<'_>) -> Option<String>| {
        let names = parsed.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(pick)
    };
    let text = match from {
        LoginFrom::None => None,
        LoginFrom::CommonName => {
            let last = parsed.subject().iter_common_name().last()?;
            last.as_str().ok().map(str::to_owned)
        }
        LoginFrom::DistinguishedName => Some(written(parsed.subject())),
        LoginFrom::SanDns => alternative(&|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }),
        LoginFrom::SanEmail => alternative(&|name| match name {
            GeneralName::RFC822Name(name) => Some((*name).to_owned()),
            _ => None,
        }),
        LoginFrom::SanUri => alternative(&|name| match name {
            GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        }),
        LoginFrom::SanIp => alternative(&|name| match name {
            GeneralName::IPAddress(octets) => ip(octets).map(|ip| ip.to_string()),
            _ => None,
        }),
    };
    text.filter(|text| !text.is_empty()).map(Name::from)
}

/// The DNS names of a certificate, in lower case.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

/// A subject as RFC 4514 writes it: the last part first, what would be read as syntax escaped.
fn written(subject: &X509Name<'_>) -> String {
    let parts: Vec<_> = subject.iter().collect();
    let mut text = String::new();
    for (at, part) in parts.iter().rev().enumerate() {
        if at > 0 {
            text.push(',');
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                text.push('+');
            }
            let oid = attribute.attr_type();
            match short_name(&oid.to_id_string()) {
                Some(name) => text.push_str(name),
                None => text.push_str(&oid.to_id_string()),
            }
            text.push('=');
            match attribute.as_str() {
                Ok(value) => escape(value, &mut text),
                // Not a text: its octets, as the RFC has it.
                Err(_) => {
                    text.push('#');
                    for octet in attribute.as_slice() {
                        let _ = write!(text, "{octet:02x}");
                    }
                }
            }
        }
    }
    text
}

/// RFC 4514, section 3, and what RabbitMQ names besides.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "T",
        "2.5.4.42" => "GIVENNAME",
        "2.5.4.46" => "DNQUALIFIER",
        "1.2.840.113549.1.9.1" => "EMAILADDRESS",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    })
}

fn escape(value: &str, into: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, letter) in value.chars().enumerate() {
        let edge = (letter == ' ' && (at == 0 || at == last)) || (letter == '#' && at == 0);
        if edge || matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            into.push('\\');
        }
        into.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a10_the_user_is_the_part_of_the_certificate_that_was_chosen() {
        let mut params = CertificateParams::new(vec!["One.Example".to_owned()]).unwrap();
        let more = [
            SanType::DnsName("two.example".try_into().unwrap()),
            SanType::Rfc822Name("app@example".try_into().unwrap()),
            SanType::URI("urn:app".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
        ];
        params.subject_alt_names.extend(more);
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CountryName, "NL");
        subject.push(DnType::OrganizationName, " Hutch, \"Inc\"");
        subject.push(DnType::CommonName, "app");
        params.distinguished_name = subject;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let user = |from| user(certificate.der(), from).map(|name| name.as_str().to_owned());
        for (from, expected) in [
            (LoginFrom::None, None),
            (LoginFrom::CommonName, Some("app")),
            (
                LoginFrom::DistinguishedName,
                Some(r#"CN=app,O=\ Hutch\, \"Inc\",C=NL"#),
            ),
            (LoginFrom::SanDns, Some("One.Example")),
            (LoginFrom::SanEmail, Some("app@example")),
            (LoginFrom::SanUri, Some("urn:app")),
            (LoginFrom::SanIp, Some("192.0.2.7")),
        ] {
            assert_eq!(user(from).as_deref(), expected, "{from:?}");
        }
        assert_eq!(dns_names(certificate.der()), ["one.example", "two.example"]);
    }

    #[test]
    fn a_certificate_without_the_part_names_nobody() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        let certificate = params.self_signed(&key).unwrap();
        for from in [
            LoginFrom::CommonName,
            LoginFrom::DistinguishedName,
            LoginFrom::SanDns,
        ] {
            assert_eq!(user(certificate.der(), from), None, "{from:?}");
        }
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xFF]);
        assert_eq!(user(&garbage, LoginFrom::CommonName), None);
    }
}
