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
    let mut keeper = Keeper::new(first, None, listeners);
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
