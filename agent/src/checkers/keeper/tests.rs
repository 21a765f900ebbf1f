//! What a reload makes of what was told.

use super::*;
use std::path::Path;

fn config(text: &str) -> Arc<Config> {
    match keepone_config::load_text(Path::new("t.conf"), text, &keepone_config::Environment::default()) {
        Ok((config, _)) => Arc::new(config),
        Err(complaints) => panic!("{}", keepone_config::render_all(&complaints, false)),
    }
}

#[tokio::test]
async fn a_session_is_known_again_by_its_name_wherever_it_stands_after_a_reload() {
    let session = |name: &str, last: u8| format!("bfd_instance {name} {{\n neighbor_ip 192.0.2.{last}\n}}\n");
    let real = |last: u8, name: &str| format!(" real_server 10.0.0.{last} 80 {{\n BFD_CHECK {{ name {name} }}\n }}\n");
    let of = |servers: &str| format!("virtual_server 192.0.2.9 80 {{\n protocol TCP\n {servers} }}\n");
    let servers = of(&(real(1, "one") + &real(2, "two")));
    let first = config(&(session("one", 1) + &session("two", 2) + &servers));
    let post = ServerPost::new(mpsc::channel(8).0, Arc::default());
    let rules = Rules { user: None, timeout: Duration::from_secs(1) };
    let listeners = Listeners::new(Box::new(drop), Vec::new(), post, rules, Ties::new(&[], mpsc::channel(1).0));
    let mut keeper = Keeper::new(first, None, listeners, None);
    keeper.on_session(0, Reading::Up);
    keeper.on_session(1, Reading::Down("cut".to_owned()));
    let up = |keeper: &Keeper| [keeper.machine.is_up(0, 0), keeper.machine.is_up(0, 1)];
    assert_eq!(up(&keeper), [true, false]);
    keeper.reconfigure(config(&(session("two", 2) + &session("one", 1) + &servers)));
    assert_eq!(up(&keeper), [true, false]);
    // A real server that is new is what its session is.
    let servers = of(&(real(3, "one") + &real(4, "two")));
    keeper.reconfigure(config(&(session("two", 2) + &session("one", 1) + &servers)));
    assert_eq!(up(&keeper), [true, false]);
    // One that has gone is forgotten.
    keeper.reconfigure(config(&(session("one", 1) + &of(&real(3, "one")))));
    assert_eq!(keeper.sessions.keys().collect::<Vec<_>>(), ["one"]);
}

/// A keeper with these real servers, and what it wants of the table: who is in it.
fn serve(servers: &str) -> (mpsc::Sender<Order>, std::sync::mpsc::Receiver<Vec<bool>>, std::thread::JoinHandle<()>) {
    let text = format!(
        "virtual_server 192.0.2.9 80 {{\n protocol TCP\n delay_loop 0.2\n retry 1\n delay_before_retry 0.1\n {servers} }}\n"
    );
    let config = config(&text);
    let (tell, told) = std::sync::mpsc::channel();
    let table = move |wanted: keepone_proto::balance::wanted::Wanted| {
        let _ = tell.send(wanted.servers.iter().map(Option::is_some).collect());
    };
    let (orders, received) = mpsc::channel(QUEUE);
    let serving = move || {
        let post = ServerPost::new(mpsc::channel(8).0, Arc::default());
        let rules = Rules { user: None, timeout: Duration::from_secs(1) };
        let listeners = Listeners::new(Box::new(table), Vec::new(), post, rules, Ties::new(&[], mpsc::channel(1).0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Keeper::new(config, None, listeners, None).serve(received).await });
    };
    (orders, told, std::thread::spawn(serving))
}

#[test]
fn connections_and_pages_are_followed_until_they_fail_and_again_when_they_do_not() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    crate::checkers::tests::servers::alone();
    let listen = |port: u16| TcpListener::bind(("127.0.0.1", port)).unwrap();
    let (taken, page, slow) = (listen(80), listen(81), listen(82));
    let (orders, told, thread) = serve(
        "real_server 127.0.0.1 80 {\n TCP_CHECK { connect_timeout 20 }\n }\n \
         real_server 127.0.0.1 81 {\n HTTP_GET { connect_timeout 20\n url { path /\n status_code 200 } }\n }\n \
         real_server 127.0.0.1 82 {\n HTTP_GET { connect_timeout 20\n url { path /\n regex ^page$ } }\n }\n",
    );
    // In two pieces, the second later than anybody looks for it on the grid.
    std::thread::spawn(move || {
        for mut stream in slow.incoming().map_while(Result::ok) {
            let _ = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            for part in ["HTTP/1.1 200 OK\r\nContent-Len", "gth: 4\r\n\r\npage"] {
                let _ = stream.write_all(part.as_bytes());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    // The first three answers are good.
    std::thread::spawn(move || {
        for (number, stream) in page.incoming().enumerate() {
            let code = if number < 3 { "200 OK" } else { "500 No" };
            let answer = format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let mut stream = stream.unwrap();
            // An answer to what nobody has asked yet is none. Who gave up meanwhile hears nothing.
            let asked =
                BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            if asked > 0 {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    // The machine may be busy.
    let next = || told.recv_timeout(Duration::from_secs(40)).unwrap();
    assert_eq!(next(), [true, true, true], "they count as up before their first check");
    assert_eq!(next(), [true, false, true], "500");
    drop(taken);
    assert_eq!(next(), [false, false, true], "refused");
    let again = listen(80);
    assert_eq!(next(), [true, false, true]);
    drop((orders, again));
    thread.join().unwrap();
}
