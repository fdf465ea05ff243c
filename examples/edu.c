/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Moves bytes by DMA through QEMU's edu device, in C: maps memory, lets the card read it into its own buffer and write it
 * back elsewhere, and reads the result.
 *
 *     edu_c --model     on the model kernel: any machine, no privilege
 *     edu_c [BDF]       on this machine's kernel, with the edu device at that PCI address (0000:00:10.0)
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "iommufd/capi.h"
#include "iommufd/capi/model.h"

enum {
    kDmaSource = 0x80,
    kDmaTarget = 0x88,
    kDmaCount = 0x90,
    kDmaCommand = 0x98,
    kStart = 1,
    kToMemory = 2,
    kInterrupt = 4,
    kBuffer = 0x40000, /* where the card sees its own buffer, of 4096 bytes */
    kInterruptAcknowledge = 0x64,
    kDmaDone = 0x100,
};

static int check(int result) {
    if (result >= 0) return result;
    fprintf(stderr, "edu_c: %s\n", iommufd_error_text());
    exit(1);
}

static void transfer(const struct iommufd_region *bar, int event, uint64_t from, uint64_t to, uint64_t command) {
    struct pollfd interrupt = {.fd = event, .events = POLLIN};
    uint64_t count;
    check(iommufd_region_write64(bar, kDmaSource, from));
    check(iommufd_region_write64(bar, kDmaTarget, to));
    check(iommufd_region_write64(bar, kDmaCount, 4096));
    check(iommufd_region_write64(bar, kDmaCommand, command | kStart | kInterrupt));
    if (poll(&interrupt, 1, 5000) != 1 || read(event, &count, sizeof count) != sizeof count) {
        fprintf(stderr, "edu_c: the card does not answer\n");
        exit(1);
    }
    check(iommufd_region_write32(bar, kInterruptAcknowledge, kDmaDone));
}

int main(int argc, char **argv) {
    const char *bdf = argc > 1 ? argv[1] : "0000:00:10.0";
    struct iommufd_model *model = NULL;
    struct iommufd_object *object;
    struct iommufd_space *space;
    struct iommufd_vfio *device;
    struct iommufd_memory *memory;
    struct iommufd_mapping *mapping;
    struct iommufd_region *bar;

    if (strcmp(bdf, "--model") == 0) {
        bdf = "0000:00:10.0";
        check(iommufd_model_create("devices=edu", &model));
    }
    const struct iommufd_options on = {.size = sizeof on, .kernel = iommufd_model_kernel(model)};
    check(iommufd_open(&on, &object));
    check(iommufd_space_create(object, NULL, &space));
    const struct iommufd_vfio_options narrow = {.size = sizeof narrow, .dma_bits = 28};
    check(iommufd_vfio_open(object, bdf, &narrow, &device));
    check(iommufd_vfio_attach(device, space));
    check(iommufd_memory_memfd(64 << 20, NULL, &memory));
    const struct iommufd_map_options at = {.size = sizeof at, .flags = IOMMUFD_MAP_AT, .iova = 0x4000000};
    check(iommufd_space_map(space, memory, &at, NULL, &mapping));

    const int event = eventfd(0, EFD_CLOEXEC);
    check(iommufd_vfio_enable(device));
    check(iommufd_vfio_region(device, 0, &bar));
    check(iommufd_vfio_set_irqs(device, IOMMUFD_IRQ_MSI, 0, &event, 1));

    char *bytes = iommufd_memory_data(memory);
    strcpy(bytes, "moved by DMA");
    transfer(bar, event, at.iova, kBuffer, 0);
    transfer(bar, event, kBuffer, at.iova + 4096, kToMemory);
    puts(bytes + 4096);

    close(event);
    iommufd_region_free(bar); /* in any order, the model last */
    iommufd_memory_free(memory);
    iommufd_mapping_free(mapping);
    iommufd_vfio_free(device);
    iommufd_space_free(space);
    iommufd_free(object);
    iommufd_model_free(model);
    return 0;
}
