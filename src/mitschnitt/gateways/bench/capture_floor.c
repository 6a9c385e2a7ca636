/* The floor of the capture bench: same sockets, timer, slots and budget as the recorder, recvmmsg, forget.
 *
 *   capture_floor PORTS_FILE ADDRESS STREAMS FIRST_PORT LAST_PORT TICK_MS ROWS SLOT BUDGET BUFFER WARM_MS
 *
 * Binds even ports, writes them to PORTS_FILE (u16), prints "ready", drains on the timer until standard
 * input ends, drains once more and prints one JSON line. "steady" is from WARM_MS after the first packet until
 * the last one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

static int *sockets, streams, rows, slot, budget;
static struct mmsghdr *messages;
static uint64_t packets, octets;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double cpu(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void drain(void) {
  int place = 0;
  for (int i = 0; i < streams; i++) {
    for (int got = budget; got == budget;) {
      if (place > rows - budget) place = 0;
      got = recvmmsg(sockets[i], messages + place, budget, MSG_DONTWAIT | MSG_TRUNC, NULL);
      for (int n = 0; n < got; n++) octets += messages[place + n].msg_len;
      if (got > 0) packets += got, place += got;
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 12) return 2;
  streams = atoi(argv[3]);
  int port = atoi(argv[4]), last = atoi(argv[5]), tick_ms = atoi(argv[6]);
  rows = atoi(argv[7]), slot = atoi(argv[8]), budget = atoi(argv[9]);
  int buffer = atoi(argv[10]);
  int64_t warm_ns = atoi(argv[11]) * 1000000LL, first = 0;
  sockets = calloc(streams, sizeof *sockets);
  uint16_t *ports = calloc(streams, sizeof *ports);
  for (int i = 0; i < streams; port += 2) {
    if (port > last) return 3;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, argv[2], &at.sin_addr);
    sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (sockets[i] < 0) return 3;
    setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(sockets[i], (struct sockaddr *)&at, sizeof at)) {
      close(sockets[i]);
      continue;
    }
    ports[i++] = (uint16_t)port;
  }
  FILE *file = fopen(argv[1], "wb");
  if (!file || fwrite(ports, 2, streams, file) != (size_t)streams || fclose(file)) return 3;

  uint8_t *arena = mmap(NULL, (size_t)rows * slot, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec *vectors = calloc(rows, sizeof *vectors);
  messages = calloc(rows, sizeof *messages);
  for (int i = 0; i < rows; i++) {
    vectors[i] = (struct iovec){arena + (size_t)i * slot, slot};
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  puts("ready");
  fflush(stdout);
  double before = cpu();
  int64_t begun = now_ns(), due = begun;
  struct { double cpu; uint64_t packets; } warm = {0, 0}, newest = {0, 0};
  for (int is_open = 1; is_open;) {
    due += tick_ms * 1000000LL;
    struct timespec at = {due / 1000000000LL, due % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    struct pollfd input = {0, POLLIN | POLLHUP, 0};
    is_open = poll(&input, 1, 0) == 0;
    uint64_t had = packets;
    drain();
    if (packets == had) continue;
    if (!first) first = now_ns();
    newest.cpu = cpu(), newest.packets = packets;
    if (!warm.packets && now_ns() - first >= warm_ns) warm = newest;
  }
  double spent = cpu() - before, wall = (now_ns() - begun) / 1e9;
  uint64_t drops = 0;
  for (int i = 0; i < streams; i++) {
    uint32_t info[9] = {0};
    socklen_t length = sizeof info;
    if (!getsockopt(sockets[i], SOL_SOCKET, SO_MEMINFO, info, &length)) drops += info[8];
  }
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  printf("{\"packets\": %llu, \"octets\": %llu, \"cpu_s\": %.6f, \"wall_s\": %.3f, \"kernel_drops\": %llu, "
         "\"steady_packets\": %llu, \"steady_cpu_s\": %.6f, \"rss_mib\": %.1f}\n",
         (unsigned long long)packets, (unsigned long long)octets, spent, wall, (unsigned long long)drops,
         (unsigned long long)(newest.packets - warm.packets), newest.cpu - warm.cpu, use.ru_maxrss / 1024.0);
  return 0;
}
