/* A Modbus server by libmodbus: a second opinion beside pymodbus.
 *
 * libmodbus_server tcp [TABLE:ADDRESS=VALUE | counter:ADDRESS]...
 * libmodbus_server rtu TTY BAUD PARITY UNIT [...]
 *
 * TABLE is coil, discrete, holding or input; addresses count from 0, and every one answers. The counter is a pair of
 * holding registers, high word first, that grows by one with each read of both. With tcp a free port of 127.0.0.1 is
 * taken. "ready PORT" (or "ready TTY") on standard output says that it answers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

static modbus_t *modbus;
static modbus_mapping_t *map;
static int counter = -1;

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static void set(const char *word)
{
    int address, value;
    if (sscanf(word, "coil:%d=%d", &address, &value) == 2)
        map->tab_bits[address & 0xFFFF] = value != 0;
    else if (sscanf(word, "discrete:%d=%d", &address, &value) == 2)
        map->tab_input_bits[address & 0xFFFF] = value != 0;
    else if (sscanf(word, "holding:%d=%d", &address, &value) == 2)
        map->tab_registers[address & 0xFFFF] = (uint16_t)value;
    else if (sscanf(word, "input:%d=%d", &address, &value) == 2)
        map->tab_input_registers[address & 0xFFFF] = (uint16_t)value;
    else if (sscanf(word, "counter:%d", &address) == 1 && address >= 0 && address < 0xFFFF)
        counter = address;
    else {
        fprintf(stderr, "not understood: %s\n", word);
        exit(2);
    }
}

static void count(const uint8_t *request)
{
    const uint8_t *pdu = request + modbus_get_header_length(modbus);
    int first = pdu[1] << 8 | pdu[2], words = pdu[3] << 8 | pdu[4];
    if (counter < 0 || pdu[0] != 3 || first > counter || counter + 2 > first + words)
        return;
    if (++map->tab_registers[counter + 1] == 0)
        ++map->tab_registers[counter];
}

/* Answers one request; -1 if there is nobody there any more. */
static int answer(void)
{
    uint8_t request[MODBUS_MAX_ADU_LENGTH];
    int length = modbus_receive(modbus, request);
    if (length <= 0) /* 0: for another unit of the line */
        return length;
    count(request);
    return modbus_reply(modbus, request, length, map);
}

static void serve_line(const char *tty, int baud, char parity, int unit)
{
    modbus = modbus_new_rtu(tty, baud, parity, 8, parity == 'N' ? 2 : 1);
    if (!modbus || modbus_set_slave(modbus, unit) || modbus_connect(modbus))
        die(tty);
    printf("ready %s\n", tty);
    for (;;)
        if (answer() < 0 && (errno == EIO || errno == EBADF))
            die(tty);
}

static void serve_network(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    fd_set open, readable;
    modbus = modbus_new_tcp("127.0.0.1", 0);
    int listener = modbus ? modbus_tcp_listen(modbus, 16) : -1;
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &length))
        die("tcp");
    printf("ready %d\n", ntohs(address.sin_port));
    FD_ZERO(&open);
    FD_SET(listener, &open);
    for (;;) {
        readable = open;
        if (select(FD_SETSIZE, &readable, NULL, NULL, NULL) < 0)
            die("select");
        for (int fd = 0; fd < FD_SETSIZE; fd++) {
            if (!FD_ISSET(fd, &readable))
                continue;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client >= 0 && client < FD_SETSIZE)
                    FD_SET(client, &open);
                continue;
            }
            modbus_set_socket(modbus, fd);
            if (answer() < 0) {
                close(fd);
                FD_CLR(fd, &open);
            }
        }
    }
}

int main(int argc, char **argv)
{
    int first = 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    map = modbus_mapping_new(0x10000, 0x10000, 0x10000, 0x10000);
    if (!map)
        die("mapping");
    if (argc >= 6 && !strcmp(argv[1], "rtu"))
        first = 6;
    else if (argc < 2 || strcmp(argv[1], "tcp")) {
        fprintf(stderr, "usage: libmodbus_server tcp | rtu TTY BAUD PARITY UNIT [TABLE:ADDRESS=VALUE]...\n");
        return 2;
    }
    for (int i = first; i < argc; i++)
        set(argv[i]);
    if (first == 6)
        serve_line(argv[2], atoi(argv[3]), argv[4][0], atoi(argv[5]));
    serve_network();
}
