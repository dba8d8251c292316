use super::*;

const NOBODY: Asked<'_> = Asked {
    from: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)),
    method: "GET",
    uri: "/dir/index.html",
    authorization: None,
};

fn access() -> Access {
    Access::new(Users::listed([("Mufasa", "Circle of Life")]))
}

/// RFC 7616 §3.9.1, both algorithms: the answers that are printed there, whose realm is another.
#[test]
fn the_examples_of_the_rfc() {
    let parts = [
        "username=\"Mufasa\"",
        "realm=\"http-auth@example.org\"",
        "uri=\"/dir/index.html\"",
        "nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\"",
        "nc=00000001",
        "cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\"",
        "qop=auth",
        "opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
    ];
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        let header = format!(
            "Digest {}, algorithm={algorithm}, response=\"{response}\"",
            parts.join(",\n ")
        );
        let answer = Answer::parse(&header).unwrap();
        assert!(
            answer.is_right_in("http-auth@example.org", "Circle of Life", NOBODY),
            "{algorithm}"
        );
        assert!(!answer.is_right_in("http-auth@example.org", "circle of life", NOBODY));
        // The realm is part of it, and so are method and address.
        assert!(!answer.is_right("Circle of Life", NOBODY));
        for other in [
            Asked {
                method: "HEAD",
                ..NOBODY
            },
            Asked {
                uri: "/dir/other.html",
                ..NOBODY
            },
        ] {
            assert!(!answer.is_right_in("http-auth@example.org", "Circle of Life", other));
        }
    }
}

/// What a client sends that knows `password` and saw `challenge`.
fn log_in(challenge: &str, password: &str, asked: Asked<'_>) -> String {
    digest::tests::answer(challenge, "Mufasa", password, asked)
}

#[test]
fn who_knows_the_password_comes_in() {
    let (access, now) = (access(), Instant::now());
    let denied = access.check(now, NOBODY);
    assert_eq!(denied, Err(Denied::Login { stale: false }));
    let challenges = access.challenges(now, NOBODY.from, false);
    assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"));
    for challenge in &challenges {
        for older in [challenge.clone(), challenge.replace("qop=\"auth\", ", "")] {
            let header = log_in(&older, "Circle of Life", NOBODY);
            let asked = Asked {
                authorization: Some(&header),
                ..NOBODY
            };
            assert_eq!(access.check(now, asked), Ok(()), "{header}");
            let elsewhere = Asked {
                from: "10.0.0.8".parse().unwrap(),
                ..asked
            };
            let denied = access.check(now, elsewhere);
            assert_eq!(denied, Err(Denied::Login { stale: true }), "{header}");
            let later = now + Duration::from_secs(601);
            assert_eq!(
                access.check(later, asked),
                Err(Denied::Login { stale: true })
            );
        }
    }
}

#[test]
fn guesses_are_slowed_with_any_challenge() {
    let (access, now) = (access(), Instant::now());
    let own = "Digest realm=\"lancam\", qop=\"auth\", algorithm=MD5, nonce=\"0-00\"";
    let theirs = &access.challenges(now, NOBODY.from, false)[1];
    for (n, challenge) in [own, theirs].iter().cycle().take(20).enumerate() {
        let header = log_in(challenge, "wrong", NOBODY);
        let asked = Asked {
            authorization: Some(&header),
            ..NOBODY
        };
        let pause = Duration::from_millis(100) * (n as u32 + 1);
        assert_eq!(access.check(now, asked), Err(Denied::Wrong(pause)));
    }
    let header = log_in(theirs, "Circle of Life", NOBODY);
    let asked = Asked {
        authorization: Some(&header),
        ..NOBODY
    };
    assert_eq!(access.check(now, asked), Err(Denied::TooMany));
    assert_eq!(access.check(now + Duration::from_secs(3), asked), Ok(()));
}

#[test]
fn nobody_is_asked_where_there_are_no_users() {
    assert_eq!(
        Access::new(Users::default()).check(Instant::now(), NOBODY),
        Ok(())
    );
}

#[test]
fn names_without_a_password_and_nonsense_are_refused() {
    let (access, now) = (access(), Instant::now());
    let challenge = &access.challenges(now, NOBODY.from, false)[0];
    let header = digest::tests::answer(challenge, "Scar", "", NOBODY);
    let asked = Asked {
        authorization: Some(&header),
        ..NOBODY
    };
    assert!(matches!(access.check(now, asked), Err(Denied::Wrong(_))));
    for nonsense in [
        "",
        "Digest",
        "Digest ",
        "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl",
        "Digest username=\"Mufasa",
        "Digest username=\"Mufasa\\",
        "Digest =,=,=\"\"",
        "Digest username=, nonce=, uri=, response=",
    ] {
        let asked = Asked {
            authorization: Some(nonsense),
            ..NOBODY
        };
        let denied = access.check(now, asked);
        assert_eq!(denied, Err(Denied::Login { stale: false }), "{nonsense}");
    }
}
