/* Paced RTP for the capture bench: every stream one packet per 20 ms, spread over the period, by sendmmsg.
 *
 *   generator PORTS_FILE ADDRESS PACKETS_PER_STREAM BURST      PORTS_FILE: u16 native order, one per stream
 *
 * Ports are read anew before each packet, so that who writes the file moves streams; port 0 is sent nothing.
 *
 * BURST packets of a stream leave at once (UDP_SEGMENT; the kernel hands them to the receiver one by one):
 * one core cannot send hundreds of thousands of single datagrams a second over loopback.
 * Payload: u32 stream, u32 counter (big endian), then bytes of (stream + counter). Paced on the monotonic
 * clock from one origin; prints one JSON line with what it sent and how late it was itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum { PAYLOAD = 160, PACKET = 12 + PAYLOAD, SLICES = 20, GROUP = 128, MAX_BURST = 10 };
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static const int64_t SLICE_NS = 1000000; /* 20 slices of 1 ms are one packet time */

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static void fill(uint8_t *p, uint32_t stream, uint32_t counter) {
  uint16_t seq = htons((uint16_t)(65000 + stream + counter)); /* most streams wrap during a run */
  uint32_t rtp_time = htonl(stream * 7919u + counter * 160u), ssrc = htonl(0x10000000u + stream);
  uint32_t id = htonl(stream), number = htonl(counter);
  p[0] = 0x80;
  p[1] = 8;
  memcpy(p + 2, &seq, 2);
  memcpy(p + 4, &rtp_time, 4);
  memcpy(p + 8, &ssrc, 4);
  memcpy(p + 12, &id, 4);
  memcpy(p + 16, &number, 4);
  memset(p + 20, (int)((stream + counter) & 0xff), PAYLOAD - 8);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  FILE *file = fopen(argv[1], "rb");
  if (!file) return 2;
  struct stat about;
  if (fstat(fileno(file), &about)) return 2;
  uint32_t streams = (uint32_t)(about.st_size / 2);
  const volatile uint16_t *ports = mmap(NULL, about.st_size, PROT_READ, MAP_SHARED, fileno(file), 0);
  if (ports == MAP_FAILED) return 2;
  uint32_t packets = (uint32_t)atoi(argv[3]);
  int burst = atoi(argv[4]), segment = PACKET;
  if (burst < 1 || burst > MAX_BURST || packets % burst) return 2;
  int sock = socket(AF_INET, SOCK_DGRAM, 0);
  if (sock < 0) return 2;
  if (burst > 1 && setsockopt(sock, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment)) return 2;

  struct sockaddr_in *to = calloc(streams, sizeof *to);
  for (uint32_t i = 0; i < streams; i++) {
    to[i].sin_family = AF_INET;
    inet_pton(AF_INET, argv[2], &to[i].sin_addr);
  }
  static uint8_t data[GROUP][MAX_BURST * PACKET];
  static struct iovec vector[GROUP];
  static struct mmsghdr message[GROUP];
  for (int i = 0; i < GROUP; i++) {
    vector[i] = (struct iovec){data[i], (size_t)burst * PACKET};
    message[i].msg_hdr.msg_iov = &vector[i];
    message[i].msg_hdr.msg_iovlen = 1;
    message[i].msg_hdr.msg_namelen = sizeof *to;
  }
  uint32_t slices = SLICES * (uint32_t)burst; /* 1 ms each; every stream has one in a period */
  int64_t *late = calloc((size_t)packets * SLICES, sizeof *late);
  uint64_t sent = 0, refused = 0;
  int64_t origin = now_ns() + 50000000;
  for (uint32_t n = 0; n < packets; n += burst) {
    for (uint32_t s = 0; s < slices; s++) {
      int64_t due = origin + ((int64_t)n * SLICES + s) * SLICE_NS;
      struct timespec at = {due / 1000000000LL, due % 1000000000LL};
      while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
      }
      uint32_t first = (uint64_t)streams * s / slices;
      uint32_t end = (uint64_t)streams * (s + 1) / slices;
      for (uint32_t i = first; i < end;) {
        int group = 0;
        for (; group < GROUP && i < end; i++) {
          uint16_t port = ports[i];
          if (!port) continue;
          to[i].sin_port = htons(port);
          for (int b = 0; b < burst; b++) fill(data[group] + b * PACKET, i, n + b);
          message[group++].msg_hdr.msg_name = &to[i];
        }
        for (int done = 0; done < group;) {
          int got = sendmmsg(sock, message + done, group - done, 0);
          if (got < 0) {
            if (errno == EINTR) continue;
            refused += burst;
            got = 1; /* this one was not sent; go on behind it */
          } else {
            sent += (uint64_t)got * burst;
          }
          done += got;
        }
      }
      late[n * SLICES + s] = now_ns() - due;
    }
  }
  double wall = (now_ns() - origin) / 1e9;
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  size_t count = (size_t)packets * SLICES;
  qsort(late, count, sizeof *late, compare);
  printf("{\"streams\": %u, \"packets_per_stream\": %u, \"sent\": %llu, \"refused\": %llu, \"wall_s\": %.3f, "
         "\"cpu_s\": %.3f, \"late_p50_us\": %.0f, \"late_p99_us\": %.0f, \"late_max_us\": %.0f}\n",
         streams, packets, (unsigned long long)sent, (unsigned long long)refused, wall,
         use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6,
         late[count / 2] / 1e3, late[count * 99 / 100] / 1e3, late[count - 1] / 1e3);
  return 0;
}
