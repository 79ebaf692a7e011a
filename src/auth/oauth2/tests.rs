//! Tokens, good and hostile.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::json;
use tempfile::TempDir;

use super::*;

const NOW_S: u64 = 1_000_000;

/// Who signs tokens.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn ec(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Signer {
            id,
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
        }
    }

    fn rsa(id: &'static str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        Signer {
            id,
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap(),
        }
    }

    fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.key).unwrap()
    }
}

/// Checks tokens with the keys of some signers.
struct Bench {
    dir: TempDir,
    oauth2: OAuth2,
}

impl Bench {
    async fn new(signers: &[&Signer]) -> Self {
        let dir = TempDir::new().unwrap();
        let source = KeySource::File(dir.path().join("keys.json"));
        let rules = TokenRules {
            resource_server_id: "rabbitmq".into(),
            scope_prefix: "rabbitmq.".into(),
            username_claims: vec!["user_name".into()],
            additional_scopes_key: "roles".into(),
        };
        let bench = Bench {
            dir,
            oauth2: OAuth2::new(rules, source, Duration::from_secs(60)),
        };
        bench.publish(signers);
        bench.oauth2.refresh().await.unwrap();
        bench
    }

    fn publish(&self, signers: &[&Signer]) {
        let keys = signers.iter().map(|signer| signer.jwk()).collect();
        let set = serde_json::to_vec(&JwkSet { keys }).unwrap();
        std::fs::write(self.dir.path().join("keys.json"), set).unwrap();
    }

    fn check(&self, token: &str) -> Result<Token, TokenRefused> {
        self.oauth2.check_at(token.as_bytes(), NOW_S)
    }
}

/// Claims that pass, with some put in their place.
fn claims(changed: &Value) -> Value {
    let mut claims = json!({
        "sub": "app",
        "aud": ["other", "rabbitmq"],
        "exp": NOW_S + 60,
        "scope": "rabbitmq.read:*/q rabbitmq.tag:monitoring openid",
    });
    for (key, value) in changed.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims
}

#[tokio::test]
async fn a10_a_token_names_its_bearer_and_what_it_may() {
    let (ec, rsa) = (Signer::ec("1"), Signer::rsa("2"));
    let bench = Bench::new(&[&ec, &rsa]).await;
    for signer in [&ec, &rsa] {
        let token = bench.check(&signer.sign(&claims(&json!({})))).unwrap();
        assert_eq!(token.user(), &Name::from("app"));
        assert_eq!(token.tags(), [Name::from("monitoring")]);
        assert_eq!(token.expires_at_s(), NOW_S + 60);
        assert!(token.may(Access::Read, &"/".into(), "q"));
        assert!(!token.may(Access::Write, &"/".into(), "q"));
    }
}

#[tokio::test]
async fn a10_claims_come_in_more_than_one_form() {
    let signer = Signer::ec("1");
    let bench = Bench::new(&[&signer]).await;
    let check = |changed: Value| bench.check(&signer.sign(&claims(&changed)));
    let user = |changed| check(changed).unwrap().user().as_str().to_owned();
    assert_eq!(user(json!({"user_name": "first"})), "first");
    assert_eq!(
        user(json!({"user_name": 5, "sub": "", "client_id": "last"})),
        "last"
    );
    assert_eq!(user(json!({"sub": null})), "unknown");
    assert!(check(json!({"aud": "rabbitmq"})).is_ok());
    assert!(check(json!({"exp": NOW_S as f64 + 1.5})).is_ok());
    let listed = json!({"scope": ["rabbitmq.write:a/b"], "roles": ["rabbitmq.read:a/b"]});
    let listed = check(listed).unwrap();
    for access in [Access::Write, Access::Read] {
        assert!(listed.may(access, &"a".into(), "b"));
    }
}

#[tokio::test]
async fn a10_hostile_tokens_are_refused() {
    let (signer, other) = (Signer::ec("1"), Signer::ec("1"));
    let rsa = Signer::rsa("2");
    let bench = Bench::new(&[&signer, &rsa]).await;
    let good = signer.sign(&claims(&json!({})));
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let none = part(&json!({"alg": "none", "kid": "1"}));
    // The public key taken for a shared secret: what a careless check falls for.
    let secret = EncodingKey::from_secret(serde_json::to_string(&rsa.jwk()).unwrap().as_bytes());
    let mut confused = Header::new(Algorithm::HS256);
    confused.kid = Some("2".into());
    let confused = encode(&confused, &claims(&json!({})), &secret).unwrap();
    let more = part(&claims(&json!({"scope": "rabbitmq.configure:*/*"})));
    let nested = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(nested));
    for (what, token) in [
        ("nothing", String::new()),
        ("a password", "guest".to_owned()),
        ("dots", "..".to_owned()),
        ("no algorithm", format!("{none}.{body}.")),
        ("no algorithm, signed", format!("{none}.{body}.{signature}")),
        ("a shared secret", confused),
        ("another's signature", other.sign(&claims(&json!({})))),
        ("other claims", format!("{head}.{more}.{signature}")),
        ("no signature", format!("{head}.{body}.")),
        ("a part too many", format!("{good}.{signature}")),
        ("deep nesting", nested),
        ("no octets of base64", format!("{head}.{body}.***")),
        ("huge", good.clone() + &"x".repeat(TOKEN_MAX_BYTES)),
    ] {
        assert_eq!(bench.check(&token), Err(TokenRefused::Invalid), "{what}");
    }
    let unknown = Signer::ec("9").sign(&claims(&json!({})));
    assert_eq!(bench.check(&unknown), Err(TokenRefused::UnknownKey));
    assert!(bench.check(&good).is_ok());
}

#[tokio::test]
async fn a10_a_token_is_held_to_time_audience_and_size() {
    let signer = Signer::ec("1");
    let bench = Bench::new(&[&signer]).await;
    let refused = |changed: Value| bench.check(&signer.sign(&claims(&changed))).unwrap_err();
    for exp in [
        json!(NOW_S),
        json!(0),
        json!(-5),
        json!("soon"),
        json!(null),
    ] {
        assert_eq!(refused(json!({"exp": exp})), TokenRefused::Time, "{exp}");
    }
    assert_eq!(refused(json!({"nbf": NOW_S + 3600})), TokenRefused::Time);
    for aud in [
        json!("other"),
        json!([]),
        json!(null),
        json!({"rabbitmq": 1}),
    ] {
        assert_eq!(
            refused(json!({"aud": aud})),
            TokenRefused::Audience,
            "{aud}"
        );
    }
    let many = vec!["rabbitmq.read:a/b"; 3000];
    let too_large = refused(json!({"scope": many.join(" ")}));
    assert!(matches!(
        too_large,
        TokenRefused::Invalid | TokenRefused::Scopes
    ));
}

#[tokio::test]
async fn keys_are_asked_for_again_when_one_is_missing_but_not_for_every_token() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let bench = Bench::new(&[&old]).await;
    let claims = claims(&json!({"exp": clock::now_ms() / 1000 + 60}));
    bench.publish(&[&old, &new]);
    let token = bench.oauth2.check(new.sign(&claims).as_bytes()).await;
    assert!(token.is_ok());
    let newer = Signer::ec("newer");
    bench.publish(&[&newer]);
    let token = bench.oauth2.check(newer.sign(&claims).as_bytes()).await;
    assert_eq!(token, Err(TokenRefused::UnknownKey));
}

#[tokio::test]
async fn a_set_that_cannot_be_used_leaves_the_old_one() {
    let signer = Signer::ec("1");
    let bench = Bench::new(&[&signer]).await;
    let path = bench.dir.path().join("keys.json");
    let shared = r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1", "alg": "HS256"}]}"#;
    for text in ["", "{}", r#"{"keys": []}"#, shared] {
        std::fs::write(&path, text).unwrap();
        let fault = bench.oauth2.refresh().await.unwrap_err().to_string();
        assert!(fault.contains("keys.json"), "{fault}");
        assert!(bench.check(&signer.sign(&claims(&json!({})))).is_ok());
    }
}
