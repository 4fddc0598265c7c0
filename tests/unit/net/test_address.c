/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

/* Each range by its first and last address, and by its neighbours outside. */
static const struct {
    const char *address;
    bool is_public;
} addresses[] = {
    {"0.0.0.0", false},
    {"0.255.255.255", false},
    {"1.0.0.0", true},
    {"1.1.1.1", true},
    {"8.8.8.8", true},
    {"9.255.255.255", true},
    {"10.0.0.0", false},
    {"10.255.255.255", false},
    {"11.0.0.0", true},
    {"100.63.255.255", true},
    {"100.64.0.0", false},
    {"100.100.100.200", false},
    {"100.127.255.255", false},
    {"100.128.0.0", true},
    {"126.255.255.255", true},
    {"127.0.0.0", false},
    {"127.0.0.1", false},
    {"127.255.255.255", false},
    {"128.0.0.0", true},
    {"168.63.129.15", true},
    {"168.63.129.16", false},
    {"168.63.129.17", true},
    {"169.253.255.255", true},
    {"169.254.0.0", false},
    {"169.254.169.254", false},
    {"169.254.255.255", false},
    {"169.255.0.0", true},
    {"172.15.255.255", true},
    {"172.16.0.0", false},
    {"172.31.255.255", false},
    {"172.32.0.0", true},
    {"192.0.0.0", false},
    {"192.0.0.192", false},
    {"192.0.0.255", false},
    {"192.0.1.0", true},
    {"192.0.2.1", false},
    {"192.0.3.0", true},
    {"192.88.98.255", true},
    {"192.88.99.1", false},
    {"192.88.100.0", true},
    {"192.167.255.255", true},
    {"192.168.0.0", false},
    {"192.168.255.255", false},
    {"192.169.0.0", true},
    {"198.17.255.255", true},
    {"198.18.0.0", false},
    {"198.19.255.255", false},
    {"198.20.0.0", true},
    {"198.51.100.7", false},
    {"203.0.113.7", false},
    {"203.0.114.0", true},
    {"223.255.255.255", true},
    {"224.0.0.0", false},
    {"239.255.255.255", false},
    {"240.0.0.0", false},
    {"255.255.255.255", false},

    {"::", false},
    {"::1", false},
    {"::8.8.8.8", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:10.0.0.1", false},
    {"::ffff:169.254.169.254", false},
    {"::ffff:8.8.8.8", false},
    {"::ffff:0:8.8.8.8", false},
    {"64:ff9b::8.8.8.8", true},
    {"64:ff9b::10.0.0.1", false},
    {"64:ff9b::127.0.0.1", false},
    {"64:ff9b:1::8.8.8.8", false},
    {"100::1", false},
    {"1fff:ffff::1", false},
    {"2000::1", true},
    {"2001::1", false},
    {"2001:1ff:ffff::1", false},
    {"2001:200::1", true},
    {"2001:db7::1", true},
    {"2001:db8::1", false},
    {"2001:db9::1", true},
    {"2001:4860:4860::8888", true},
    {"2002:808:808::1", true},
    {"2002:7f00:1::1", false},
    {"2002:a00:1::1", false},
    {"2606:4700:4700::1111", true},
    {"3ffe::1", true},
    {"3fff::1", false},
    {"3fff:fff::1", false},
    {"3fff:1000::1", true},
    {"4000::1", false},
    {"5f00::1", false},
    {"fc00::1", false},
    {"fd00:ec2::254", false},
    {"fe80::1", false},
    {"fec0::1", false},
    {"ff02::1", false},
    {"ffff::1", false},
};

static void test_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
        const struct sockaddr *address = (const struct sockaddr *)&v4;
        const char *text = addresses[i].address;
        if (strchr(text, ':') != NULL) {
            address = (const struct sockaddr *)&v6;
            assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        } else {
            assert_int_equal(inet_pton(AF_INET, text, &v4.sin_addr), 1);
        }
        if (ps_address_is_public(address) != addresses[i].is_public) {
            fail_msg("%s", text);
        }
        enum ps_address_host expected =
            addresses[i].is_public ? PS_ADDRESS_PUBLIC : PS_ADDRESS_PRIVATE;
        assert_int_equal(ps_address_host(ps_slice_cstr(text)), expected);
    }
}

static void test_other_families(void **state)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr nothing = {.sa_family = AF_UNSPEC};

    (void)state;
    assert_false(ps_address_is_public((const struct sockaddr *)&local));
    assert_false(ps_address_is_public(&nothing));
}

static const struct {
    const char *host;
    enum ps_address_host what;
} hosts[] = {
    {"", PS_ADDRESS_NAME},
    {"example.com", PS_ADDRESS_NAME},
    {"10.example.com", PS_ADDRESS_NAME},
    {"1.2.3.4.5", PS_ADDRESS_NAME},
    {"256.1.1.1", PS_ADDRESS_NAME},
    {"mylocalhost", PS_ADDRESS_NAME},
    {"localhost.example.com", PS_ADDRESS_NAME},
    {"localhost", PS_ADDRESS_PRIVATE},
    {"LocalHost.", PS_ADDRESS_PRIVATE},
    {"a.localhost", PS_ADDRESS_PRIVATE},
    {"127.1", PS_ADDRESS_PRIVATE},
    {"127.0.0.1.", PS_ADDRESS_PRIVATE},
    {"0x7f.0.0.1", PS_ADDRESS_PRIVATE},
    {"0x7f000001", PS_ADDRESS_PRIVATE},
    {"0177.0.0.1", PS_ADDRESS_PRIVATE},
    {"017700000001", PS_ADDRESS_PRIVATE},
    {"2130706433", PS_ADDRESS_PRIVATE},
    {"0", PS_ADDRESS_PRIVATE},
    {"0xa9fea9fe", PS_ADDRESS_PRIVATE},
    {"134744072", PS_ADDRESS_PUBLIC},
    {"8.8.2056", PS_ADDRESS_PUBLIC},
    {"fe80::1%eth0", PS_ADDRESS_PRIVATE},
    {"2606:4700::1%eth0", PS_ADDRESS_PRIVATE},
    {":", PS_ADDRESS_PRIVATE},
};

static void test_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (ps_address_host(ps_slice_cstr(hosts[i].host)) != hosts[i].what) {
            fail_msg("%s", hosts[i].host);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_other_families),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
