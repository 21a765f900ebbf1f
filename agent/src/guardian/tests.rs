use super::*;

fn patience_of(text: &str) -> Duration {
    let config = keepone_config::load_text(Path::new("t.conf"), text, &Environment::default()).unwrap().0;
    patience(&Plan::new(&config))
}

#[test]
fn a_worker_that_can_hold_no_address_is_waited_for_longer_than_one_that_can() {
    let servers = "virtual_server 192.0.2.1 80 {\n real_server 192.0.2.2 80 {\n weight 1\n }\n}\n";
    let fast = "vrrp_instance V1 {\n interface lo\n virtual_router_id 51\n version 3\n advert_int 0.1\n \
                virtual_ipaddress {\n 192.0.2.1/24\n }\n}\n";
    assert_eq!(patience_of(servers), LONGEST_PATIENCE);
    assert_eq!(patience_of(&format!("{fast}{servers}")), SHORTEST_PATIENCE);
}
