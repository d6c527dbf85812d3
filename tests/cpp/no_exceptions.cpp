/* vfs.hpp with -fno-exceptions and -fno-rtti: the calls that throw nothing are all that one needs. */
#include "check.hpp"

static void all()
{
    vfs::Store store = OK(vfs::Store::try_open(options_on(dir_of("tier"))));
    OK(store.try_put("k", "value", vfs::persist));
    CHECK(OK(store.try_read<std::string>("k")) == "value");
    char buffer[2];
    CHECK(OK(store.try_read("k", buffer, 4)) == 1 && buffer[0] == 'e');
    vfs::View view = OK(store.try_map("k"));
    CHECK(view.text() == "value" && OK(store.try_stat("k")).persistent() && OK(store.try_has("k")));
    vfs::Writer writer = OK(store.try_create("w"));
    OK(writer.try_write("w"));
    CHECK(OK(writer.try_reserve(1)).size() == 1);
    OK(writer.try_seal());
    int count = 0;
    for (vfs::List list = OK(store.try_list());; count++) {
        std::optional<vfs::Entry> entry = OK(list.try_next());
        if (!entry) break;
        CHECK(entry->key == "k" || entry->key == "w");
    }
    CHECK(count == 2);
    CHECK(OK(store.try_reap()) == 0 && OK(store.try_tiers()).size() == 1 && OK(store.try_tier(0)).usable());
    OK(store.try_remove_owned({"k", "w"}));
    OK(store.try_remove("k"));
    FAILS(VFS_ERR_NOT_FOUND, store.try_remove("w"));
    OK(store.try_shutdown());
    FAILS(VFS_ERR_SHUTDOWN, store.try_put("k", "value"));
}

int main(int argc, char **argv)
{
    return run_mode(argc, argv, {{"all", all}});
}
