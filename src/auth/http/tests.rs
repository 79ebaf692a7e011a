use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Uri};
use parking_lot::Mutex;

use super::*;

/// A server that notes what it is asked, and says what the test wants.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    says: Arc<Mutex<(u16, String)>>,
    /// Requests that it has and does not answer.
    hanging: Arc<AtomicUsize>,
}

/// What makes it answer nothing.
const HANG: u16 = 999;

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let says = Arc::new(Mutex::new((200, "allow".to_owned())));
        let hanging = Arc::<AtomicUsize>::default();
        let (noted, answer, held) = (Arc::clone(&asked), Arc::clone(&says), Arc::clone(&hanging));
        let answering = move |method: Method, uri: Uri, body: Bytes| async move {
            let body = String::from_utf8(body.to_vec()).unwrap();
            noted.lock().push(format!("{method} {uri} {body}"));
            let (status, text) = answer.lock().clone();
            if status == HANG {
                held.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
            let status = StatusCode::from_u16(status).unwrap();
            let location = "http://127.0.0.1:1/elsewhere";
            (status, [("location", location)], text)
        };
        let router = Router::new().fallback(answering);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server {
            address,
            asked,
            says,
            hanging,
        }
    }

    fn says(&self, status: u16, text: &str) {
        *self.says.lock() = (status, text.to_owned());
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock())
    }

    fn rules(&self) -> HttpRules {
        let path = |name: &str| format!("{}/auth/{name}", self.address);
        HttpRules {
            user_path: path("user"),
            vhost_path: path("vhost"),
            resource_path: path("resource"),
            topic_path: path("topic"),
            method: HttpMethod::Post,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            ca_file: PathBuf::new(),
            remembered: Duration::from_secs(60),
            remembered_max: 100,
            requests_max: 2,
        }
    }

    fn auth(&self) -> Arc<HttpAuth> {
        Arc::new(HttpAuth::new(self.rules()).unwrap())
    }

    fn forgetful(&self) -> Arc<HttpAuth> {
        let remembered = Duration::ZERO;
        let rules = HttpRules {
            remembered,
            ..self.rules()
        };
        Arc::new(HttpAuth::new(rules).unwrap())
    }
}

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

async fn log_in(auth: &Arc<HttpAuth>, password: &str) -> Result<Login, LoginRefused> {
    auth.log_in("app", Some(password.as_bytes()), PEER).await
}

async fn user(auth: &Arc<HttpAuth>) -> Arc<HttpUser> {
    match log_in(auth, "secret").await.unwrap().authority {
        Authority::Http(user) => user,
        other => panic!("{other:?}"),
    }
}

fn read(name: &str) -> Deed {
    Deed::Use {
        vhost: "/".into(),
        kind: "queue",
        name: name.into(),
        access: Access::Read,
    }
}

#[tokio::test]
async fn a10_fields_are_those_of_rabbitmqs_plugin() {
    let server = Server::start().await;
    server.says(200, "allow Management  x-y\n");
    let auth = server.auth();
    let login = auth.log_in("a b", Some(b"p&\xff"), PEER).await.unwrap();
    assert_eq!(login.tags, ["management".into(), "x-y".into()]);
    let certified = auth.log_in("a b", None, PEER).await;
    assert!(certified.is_ok(), "without a password");
    server.says(200, "allow");
    let Authority::Http(user) = login.authority else {
        panic!();
    };
    let vhost = Name::from("v/1");
    assert!(!user.may_enter(&vhost) && !user.may(read("q")));
    let key = b"a.b".to_vec();
    let (exchange, access) = (Name::from("x"), Access::Write);
    user.may(Deed::Route {
        vhost,
        exchange,
        key,
        access,
    });
    assert!(user.has_questions());
    user.ask().await;
    let tags = "tags=management%20x%2Dy";
    assert_eq!(
        server.take_asked(),
        [
            "POST /auth/user username=a%20b&password=p%26%FF".to_owned(),
            "POST /auth/user username=a%20b".to_owned(),
            format!("POST /auth/vhost username=a%20b&vhost=v%2F1&ip=10%2E0%2E0%2E1&{tags}"),
            format!(
                "POST /auth/resource username=a%20b&vhost=%2F&resource=queue&name=q&\
                 permission=read&{tags}"
            ),
            format!(
                "POST /auth/topic username=a%20b&vhost=v%2F1&resource=topic&name=x&\
                 permission=write&{tags}&routing_key=a%2Eb&\
                 variable_map.username=a%20b&variable_map.vhost=v%2F1"
            ),
        ]
    );
    let rules = HttpRules {
        method: HttpMethod::Get,
        user_path: format!("{}/auth?of=user", server.address),
        ..server.rules()
    };
    let auth = Arc::new(HttpAuth::new(rules).unwrap());
    log_in(&auth, "secret").await.unwrap();
    let found = server.take_asked();
    let expected = "GET /auth?of=user&username=app&password=secret ";
    assert_eq!(found, [expected]);
}

#[test]
fn a10_what_an_answer_says() {
    let allow = |tags: &[&str]| {
        let tags = tags.iter().map(|&tag| tag.into()).collect();
        Some(Verdict::Allow { tags })
    };
    let deny = |reason: &str| {
        let reason = reason.to_owned();
        Some(Verdict::Deny { reason })
    };
    for (answer, expected) in [
        ("allow", allow(&[])),
        (" ALLOW \r\n", allow(&[])),
        ("allow administrator Own", allow(&["administrator", "own"])),
        ("deny", deny("")),
        ("Deny", deny("")),
        ("deny not on Sundays ", deny("not on Sundays")),
        ("", None),
        ("allowed", None),
        ("denied", None),
        ("yes", None),
        ("{\"allow\":true}", None),
    ] {
        assert_eq!(verdict(answer.as_bytes()), expected, "{answer:?}");
    }
    assert_eq!(verdict(b"allow \xff"), None);
}

#[tokio::test]
async fn a10_what_is_no_answer_refuses_and_is_not_remembered() {
    let server = Server::start().await;
    let auth = server.auth();
    let user = user(&auth).await;
    let long = format!("allow {}", "x".repeat(HTTP_AUTH_ANSWER_MAX_BYTES));
    for (status, text) in [
        (500, "allow"),
        (204, ""),
        (302, "allow"),
        (401, "deny"),
        (200, ""),
        (200, "<html>"),
        (200, long.as_str()),
    ] {
        server.says(status, text);
        let login = log_in(&auth, "other").await;
        assert_eq!(login, Err(LoginRefused::Unanswered), "{status} {text}");
        assert!(!user.may(read("q")));
        user.ask().await;
        assert!(!user.may(read("q")), "{status} {text}");
        assert!(!user.has_questions(), "it has its answer");
        user.forget();
    }
    // Only a login may have tags.
    server.says(200, "allow administrator");
    assert!(!user.may(read("q")));
    user.ask().await;
    assert!(!user.may(read("q")));
    user.forget();
    server.says(201, "allow");
    assert!(log_in(&auth, "other").await.is_ok());
    assert!(!user.may(read("q")));
    user.ask().await;
    assert!(user.may(read("q")));
}

#[tokio::test]
async fn a10_nobody_there_and_no_answer_in_time_refuse() {
    let server = Server::start().await;
    server.says(HANG, "");
    let rules = HttpRules {
        request_timeout: Duration::from_millis(50),
        ..server.rules()
    };
    let auth = Arc::new(HttpAuth::new(rules).unwrap());
    let login = log_in(&auth, "secret").await;
    assert_eq!(login, Err(LoginRefused::Unanswered));
    let rules = HttpRules {
        user_path: "http://127.0.0.1:1/user".into(),
        ..server.rules()
    };
    let auth = Arc::new(HttpAuth::new(rules).unwrap());
    let login = log_in(&auth, "secret").await;
    assert_eq!(login, Err(LoginRefused::Unanswered));
}

#[tokio::test]
async fn a10_answers_of_both_kinds_are_remembered_by_user_tags_and_password() {
    let server = Server::start().await;
    let auth = server.auth();
    let user = user(&auth).await;
    for _ in 0..3 {
        assert!(log_in(&auth, "secret").await.is_ok());
        user.may(read("q"));
        user.ask().await;
        assert!(user.may(read("q")));
        user.forget();
    }
    assert_eq!(server.take_asked().len(), 2);
    assert!(auth.was_right("app", b"secret"));
    assert!(!auth.was_right("app", b"other") && !auth.was_right("ap", b"psecret"));
    server.says(200, "deny so");
    for _ in 0..3 {
        assert_eq!(log_in(&auth, "other").await, Err(LoginRefused::Denied));
        user.may(read("other"));
        user.ask().await;
        assert!(!user.may(read("other")));
        user.forget();
    }
    assert_eq!(server.take_asked().len(), 2);
    assert!(!auth.was_right("app", b"other"));
    // With other tags it is another question.
    let tagged = HttpUser::new(Arc::clone(&auth), "app".into(), &["t".into()], PEER);
    assert!(!tagged.may(read("q")) && tagged.has_questions());
}

#[tokio::test]
async fn a10_an_answer_that_is_not_remembered_holds_for_what_was_asked() {
    let server = Server::start().await;
    let auth = server.forgetful();
    let user = user(&auth).await;
    server.take_asked();
    for _ in 0..2 {
        assert!(!user.may(read("q")), "not known");
        assert!(user.has_questions());
        user.ask().await;
        assert!(user.may(read("q")));
        assert!(!user.may(read("other")), "which is another question");
        user.ask().await;
        assert!(user.may(read("q")) && user.may(read("other")));
        user.forget();
    }
    assert_eq!(server.take_asked().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_who_may_wait_has_its_answer_at_once() {
    let server = Server::start().await;
    let auth = server.forgetful();
    let user = user(&auth).await.waiting();
    assert!(user.may(read("q")));
    server.says(200, "deny");
    assert!(!user.may(read("q")));
    assert!(!user.has_questions());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_keep_those_from_their_answers_who_have_logged_in() {
    let server = Server::start().await;
    let auth = server.auth();
    let user = user(&auth).await;
    server.says(HANG, "");
    let guesses: Vec<_> = (0..10)
        .map(|number| {
            let auth = Arc::clone(&auth);
            tokio::spawn(async move { log_in(&auth, &number.to_string()).await.map(drop) })
        })
        .collect();
    while server.hanging.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.says(200, "allow");
    user.may(read("q"));
    user.ask().await;
    assert!(user.may(read("q")));
    assert_eq!(
        server.hanging.load(Ordering::SeqCst),
        2,
        "no more at a time"
    );
    guesses.iter().for_each(|guess| guess.abort());
}

#[tokio::test]
async fn many_with_the_same_question_ask_it_once_for_each_slot() {
    let server = Server::start().await;
    let auth = server.auth();
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let auth = Arc::clone(&auth);
            tokio::spawn(async move { log_in(&auth, "secret").await.is_ok() })
        })
        .collect();
    for login in logins {
        assert!(login.await.unwrap());
    }
    let asked = server.take_asked().len();
    assert!((1..=2).contains(&asked), "{asked}");
}

#[test]
fn authorities_that_are_none_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let rules = |path: &std::path::Path| HttpRules {
        user_path: "https://a/".into(),
        vhost_path: "https://a/".into(),
        resource_path: "https://a/".into(),
        topic_path: "https://a/".into(),
        method: HttpMethod::Get,
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        ca_file: path.into(),
        remembered: Duration::ZERO,
        remembered_max: 0,
        requests_max: 1,
    };
    let fault = |path| HttpAuth::new(rules(path)).err().unwrap().to_string();
    assert!(fault(&path).contains("ca.pem"), "{}", fault(&path));
    std::fs::write(&path, "nothing").unwrap();
    assert!(fault(&path).contains("no certificate"), "{}", fault(&path));
    let certified = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    std::fs::write(&path, certified.cert.pem()).unwrap();
    assert!(HttpAuth::new(rules(&path)).is_ok());
}
